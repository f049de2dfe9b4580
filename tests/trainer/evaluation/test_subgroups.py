"""Groups of images of a split: by the sub-type in the file name, by the size before the resize."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.tfrecord import frame, write_shard
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation.calibration import logits_of
from trainer.evaluation.predictions import Predictions, read_predictions, write_predictions
from trainer.evaluation.subgroups import by_trait, sizes, subtypes
from trainer.run.folder import RunFolder
from trainer.run.model_card import OperatingPoint

LABELS = np.array([0, 0, 0, 1, 1, 1, 0, 1, 1])
SCORES = np.array([0.1, 0.2, 0.7, 0.9, 0.4, 0.8, 0.3, 0.6, 0.2])
NAMES = ["a", "b", "c", "person1_bacteria_1", "person2_virus_1", "person3_virus_2", "d", "person4_bacteria_7", "e"]


def saved(source_pixels) -> Predictions:
    names = [f"{name}.jpeg" for name in NAMES]
    return Predictions(names, names, LABELS, logits_of(SCORES), SCORES, np.asarray(source_pixels))


def test_thirds_by_size_hold_every_image_once_with_its_own_numbers():
    pixels = np.array([3, 1, 2, 9, 8, 7, 5, 4, 6]) * 10**6
    small, middle, large = sizes(saved(pixels), 0.5)
    assert [small.name, middle.name, large.name] == [f"up to {n}.00 megapixels" for n in (3, 6, 9)]
    assert [part.num_images for part in (small, middle, large)] == [3, 3, 3]
    assert (small.share_right, small.auroc) == (2 / 3, None), "all of them are NORMAL"
    assert middle.auroc == roc_auc_score(LABELS[6:], SCORES[6:])
    assert large.mean_probability == pytest.approx(SCORES[3:6].mean())


@pytest.mark.parametrize("pixels", [np.zeros(0, int), [0] * 9, [4] * 9, [0, *[5] * 8]])
def test_sizes_that_are_all_the_same_or_not_kept_make_no_groups(pixels):
    assert sizes(saved(pixels), 0.5) == []


def test_subtypes_are_set_against_all_normal_images():
    normal, bacteria, virus, other = subtypes(saved([0] * 9), 0.5)
    assert [each.name for each in (normal, bacteria, virus, other)] == ["normal", "bacteria", "virus", "not named"]
    assert (normal.auroc, normal.share_right) == (None, 0.75)
    against = [0, 1, 2, 6, 3, 7]
    assert bacteria.auroc == roc_auc_score(LABELS[against], SCORES[against])


def test_the_size_before_the_resize_comes_from_the_record(tmp_path):
    common = {"encoding": "raw", "height": 4, "width": 4, "label": 0, "source_id": "s", "group": "g"}
    records = [
        Record(encoded=bytes(16), filename="new.png", source_height=1100, source_width=1400, **common),
        Record(encoded=bytes(16), filename="old.png", **common),
    ]
    without = to_example(records[1]).replace(b"image/source_height", b"image/source_h_____")
    write_shard(tmp_path, "one.tfrecord", [frame(to_example(records[0])), frame(without)])
    source = SplitSource((str(tmp_path / "one.tfrecord"),), (2,), 4, "raw")
    (batch,) = evaluation_batches(source, batch_size=2)
    assert batch["source_pixels"].numpy().tolist() == [1100 * 1400, 0]


def test_each_domain_has_its_numbers_and_one_of_a_single_class_says_so():
    names = [str(place) for place in range(8)]
    labels = np.array([0, 1, 0, 1, 0, 0, 1, 1])
    scores = np.array([0.1, 0.9, 0.6, 0.7, 0.2, 0.8, 0.3, 0.9])
    domains, ages = ["b"] * 4 + ["a"] * 2 + [""] * 2, ["80 and over", "5-17", "under 1", "1-4"] * 2
    traits = {"domain": domains, "age": ages, "view": ["PA"] * 8}
    predictions = Predictions(names, names, labels, logits_of(scores), scores, np.zeros(8, int), traits)
    measured = by_trait(predictions)
    assert list(measured) == ["domain", "age"], "a trait with one value tells no groups apart"
    assert list(measured["domain"]) == ["a", "b", "not known"]
    assert list(measured["age"]) == ["under 1", "1-4", "5-17", "80 and over"]
    both, normal = measured["domain"]["b"], measured["domain"]["a"]
    assert (both["num_images"], both["sensitivity"], both["specificity"], both["auroc"]) == (4, 1.0, 0.5, 1.0)
    assert (normal["class_counts"], normal["specificity"]) == ({"NORMAL": 2, "PNEUMONIA": 0}, 0.5)
    assert (normal["sensitivity"], normal["auroc"]) == (None, None)
    assert normal["undefined"]["sensitivity"] == "no image is PNEUMONIA"


def test_traits_are_saved_with_the_predictions(tmp_path):
    traits = {"domain": ["a", "", "Köln"], "sex": ["F", "M", ""]}
    names, scores = ["x", "y", "z"], np.array([0.1, 0.5, 0.9])
    predictions = Predictions(names, names, np.array([0, 1, 1]), logits_of(scores), scores, np.zeros(3, int), traits)
    write_predictions(RunFolder(tmp_path), "val", predictions, point=OperatingPoint())
    assert read_predictions(tmp_path, "val").traits == traits
