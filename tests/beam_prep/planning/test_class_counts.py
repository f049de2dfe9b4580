"""Counts of classes and findings, and the warnings about rare ones."""

from label_datasets import FINDINGS, THREE_CLASSES
from prepared_images import image

from beam_prep.dataset.manifest import Shard, Split
from beam_prep.dataset.schema import DEFAULT_LABELS
from beam_prep.planning.class_counts import count_cooccurrence, count_split, warn_of_rare_classes
from beam_prep.planning.outcomes import Span
from beam_prep.planning.plan import make_plan
from beam_prep.planning.splits import Fractions


def findings(number: int, *vector: int):
    return image(f"p{number // 2}", number, label=-1)._replace(findings=vector)


IMAGES = [findings(0, 1, 0, -1, 0), findings(1, 1, 1, 1, 0), findings(2, 0, -1, 1, 0), findings(3, -1, 0, 0, 0)]


def test_findings_are_counted_where_they_are_known():
    split = count_split(IMAGES, FINDINGS)
    assert (split.num_records, split.num_groups) == (4, 2)
    assert split.class_counts == {"Edema": 2, "Effusion": 1, "Mass": 2, "Hernia": 0}
    assert split.known_counts == {"Edema": 3, "Effusion": 3, "Mass": 3, "Hernia": 4}
    assert split.class_weights == {"Edema": 3 / 4, "Effusion": 3 / 2, "Mass": 3 / 4, "Hernia": None}


def test_findings_that_occur_together_are_counted():
    pairs = count_cooccurrence(IMAGES, FINDINGS)
    assert pairs["Edema"] == {"Edema": 2, "Effusion": 1, "Mass": 1, "Hernia": 0}
    assert pairs["Mass"]["Edema"] == 1
    assert count_cooccurrence([image("p", 0)], DEFAULT_LABELS) == {}


def test_three_classes_have_weights_by_the_number_of_classes():
    split = count_split([image("p", n, label=n % 2) for n in range(6)], THREE_CLASSES)
    assert split.class_counts == {"NORMAL": 3, "bacteria": 3, "virus": 0}
    assert split.class_weights == {"NORMAL": 6 / 9, "bacteria": 6 / 9, "virus": None}
    assert split.known_counts is None


def test_classes_that_a_split_lacks_or_has_rarely_are_warned_of():
    def split(*counts):
        return Split.from_counts(dict(zip(THREE_CLASSES.class_names, counts, strict=True)), 9)

    splits = {"train": split(50, 7, 0), "val": split(9, 0, 9), "test": split(0, 0, 0)}
    missing, unmeasured, rare = warn_of_rare_classes(splits, THREE_CLASSES)
    assert missing == "the train split has no image of the class virus: it can't be learned"
    assert unmeasured.startswith("the val split has no image of the class bacteria: nothing is measured")
    assert "fewer than 20 training images of bacteria (7)" in rare
    assert list(warn_of_rare_classes(splits, DEFAULT_LABELS)) == []


def test_copies_with_other_findings_are_rejected_and_those_with_the_same_are_left_out():
    others = [findings(n, n % 2, 0, 0, 1) for n in range(10, 40)]
    differing = [findings(n, 1, 0, 0, n // 4)._replace(pixels="same") for n in (2, 4, 6)]
    alike = [findings(n, 1, 0, 0, 0)._replace(pixels="again") for n in (0, 1)]
    plan = make_plan(
        [each._replace(spans=(Span("spool", 0, 9),), sums=((0, 0),)) for each in (*others, *differing, *alike)],
        image_sizes=(32,),
        fractions=Fractions(0.3),
        num_shards=1,
        max_rejected_fraction=0.5,
        options={},
        labels=FINDINGS,
    )
    assert [each.reason for each in plan.rejected] == ["two_labels"] * 3
    assert len(plan.duplicates) == 1
    assert plan.problem is None  # two findings are in no image, but others are
    manifest = plan.manifest([Shard(task.path, len(task.spans), 99, "0" * 64) for task in plan.tasks], {})
    assert (manifest.task, manifest.class_names) == ("multilabel", FINDINGS.class_names)
    assert manifest.cooccurrence["Hernia"]["Edema"] == 15
