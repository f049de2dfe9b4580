"""Folds by domain: what is validated or tested on comes from domains that are not trained on."""

import pytest
from dataset_files import make_manifest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Split
from beam_prep.dataset.trainable import LARGER_VAL
from trainer.config.fold import Fold
from trainer.config.train import TrainConfig
from trainer.data.checks import check_fold
from trainer.data.folds import RecordIndex, divide, domain_numbers
from trainer.data.splits import SplitSource

# Split, patient, label, domain of each record; patient b has images in two domains, h is in test.
RECORDS = (
    *(("train", "a", 0, "Bonn"), ("train", "a", 1, "Bonn"), ("train", "b", 0, "Bonn"), ("train", "b", 1, "Köln")),
    *(("train", "c", 1, "Köln"), ("train", "d", 0, "Trier"), ("train", "i", 1, "Trier"), ("train", "e", 1, "")),
    *(("val", "f", 0, "Bonn"), ("val", "j", 1, "Trier"), ("val", "g", 1, "Köln")),
    *(("test", "h", 0, "Köln"), ("test", "k", 1, "Bonn")),
)


def divided(fold: str, records=RECORDS):
    wanted = Fold.parse(fold)
    of_split = {name: [each for each in records if each[0] == name] for name in ("train", "val", "test")}
    indexed = [each for name in wanted.divides for each in of_split[name]]
    _, groups, labels, domains = zip(*indexed, strict=True)
    index = RecordIndex(labels, groups, [str(place) for place in range(len(indexed))], domains)
    empty = Split.from_counts({"NORMAL": 0, "PNEUMONIA": 0}, 0)
    manifest = make_manifest(splits=dict.fromkeys(of_split, empty))
    sources = {name: SplitSource((name,), (len(each),), 32, "raw") for name, each in of_split.items()}
    found = divide(wanted, "data", manifest, sources, index)
    chosen = {
        name: [indexed[place] for place, inside in enumerate(sum(found.sources[name].selected, ())) if inside]
        for name in wanted.divides
    }
    return found, chosen


def test_the_domains_of_a_fold_are_validated_on_and_no_patient_is_on_both_sides():
    validated = set()
    for number in (1, 2, 3):
        found, chosen = divided(f"domain={number}/3")
        domains, patients = ({name: {each[at] for each in part} for name, part in chosen.items()} for at in (3, 1))
        assert domains["val"] == set(found.domains)
        assert not domains["val"] & domains["train"]
        assert not patients["val"] & patients["train"]
        assert found.sources["test"].selected is None, "the test split stays as it is"
        assert sum(map(len, chosen.values())) + found.num_left_out == 11
        validated |= domains["val"]
    assert validated == {"Bonn", "Köln", "Trier"}, "images of no known domain are always trained on"


def test_a_domain_that_is_held_out_is_the_test_split_and_its_patients_are_nowhere_else():
    found, chosen = divided("holdout=Köln")
    assert [each[1] for each in chosen["test"]] == ["b", "c", "g", "h"], "from all splits"
    assert [each[1] for each in chosen["train"]] == ["a", "a", "d", "i", "e"], "without the other image of b"
    assert [each[1] for each in chosen["val"]] == ["f", "j"]
    assert found.num_left_out == 2, "an image of b, and the test image of Bonn"
    assert found.splits["test"].class_counts == {"NORMAL": 1, "PNEUMONIA": 3}
    described = found.to_json()
    assert (described["fold"], described["domains"], described["test"]["num_groups"]) == ("holdout=Köln", ["Köln"], 4)


def test_images_of_no_known_domain_are_counted_where_domains_are_held(caplog):
    wide = [(split, f"{group} {copy}", label, domain) for copy in "123" for split, group, label, domain in RECORDS]
    for fold, flag, held in (
        ("domain=1/3", "--fold domain=1/3", "Bonn"),
        ("holdout=Köln", "--holdout_domain Köln", "Köln"),
    ):
        found = divided(fold, wide)[0]
        assert found.num_unknown == 3
        check_fold(found, 1, "0.5")
        said = (
            f"{flag}: of 3 images that are trained or validated on, the domain is not known; they may be of {held} too"
        )
        assert said in caplog.messages
    assert divided("1/3", wide)[0].num_unknown == 0, "where patients are divided, domains have no part"


def test_a_dataset_of_test_images_alone_has_nothing_to_divide():
    manifest, none = make_manifest(), RecordIndex([], [], [], [])
    for fold in ("1/3", "domain=1/3"):
        with pytest.raises(UsageError, match=f"--fold {fold}: data holds no image in train or val, .* prepare again"):
            divide(Fold.parse(fold), "data", manifest, {}, none)


def test_domains_are_shared_out_by_their_number_of_images():
    numbers = domain_numbers(["a"] * 5 + ["b"] * 3 + ["c"] * 2 + [""] * 9, 2)
    assert numbers == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("fold", "records", "said"),
    [
        ("holdout=Mainz", RECORDS, "--holdout_domain Mainz: expected a domain of data, which holds Bonn, Köln, Trier"),
        ("domain=1/4", RECORDS, "--fold domain=1/4: expected at least 4 domains, found Bonn, Köln, Trier"),
        ("domain=1/2", tuple((*each[:3], "") for each in RECORDS), "does not tell the domains of its images"),
        (
            "holdout=Bonn",
            tuple(each for each in RECORDS if each[3] == "Bonn" or each[2]),
            "without the images of Bonn there is none of class NORMAL to train on",
        ),
    ],
)
def test_what_can_not_be_divided_is_refused(fold, records, said):
    with pytest.raises(UsageError, match=said):
        divided(fold, records)


@pytest.mark.parametrize(
    ("fold", "advice"),
    [("domain=1/3", "another fold or fewer folds"), ("domain=1/2", "another fold"), ("holdout=A", LARGER_VAL)],
)
@pytest.mark.parametrize("flags", [{"threshold_rule": "youden"}, {"threshold_rule": "0.5", "select_by": "val_auroc"}])
def test_a_fold_that_lacks_a_class_is_advised_on_what_changes_its_images(fold, advice, flags):
    records = (
        *(("train", patient, 0, "A") for patient in "abc"),
        *(("train", "d", 1, "B"), ("val", "e", 1, "B"), ("train", "f", 0, "C"), ("train", "g", 1, "C")),
        ("test", "h", 0, "C"),
    )
    found, _ = divided(fold, records)
    with pytest.raises(UsageError, match=f"more patients, or take {advice}$"):
        check_fold(found, 1, **flags)


def test_the_flag_of_a_domain_names_its_fold_and_goes_with_no_other():
    config = TrainConfig(data="d", output="o", holdout_domain="St. Anna", train_on_val=True)
    assert str(config.division) == "holdout=St. Anna"
    assert Fold.parse("holdout=St. Anna") == config.division == TrainConfig(**config.to_json()).division
    with pytest.raises(UsageError, match="--holdout_domain x and --fold 1/5 divide the images in two ways"):
        TrainConfig(data="d", output="o", holdout_domain="x", fold="1/5")
    with pytest.raises(UsageError, match="leaves nothing to validate --fold domain=1/5 on"):
        TrainConfig(data="d", output="o", fold="domain=1/5", train_on_val=True)
