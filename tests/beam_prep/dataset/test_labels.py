"""Records and manifests of all three tasks."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
import tensorflow as tf
from dataset_files import make_manifest, records_of
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset

from beam_prep.console.errors import UsageError
from beam_prep.dataset.example_proto import Record, from_example, to_example
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from beam_prep.dataset.tfrecord import frame, read_frames, write_shard
from beam_prep.dataset.verify import find_differences

ONE_FINDING = LabelSpace(("Pneumonia",), "multilabel")


@pytest.fixture(params=[THREE_CLASSES, FINDINGS, ONE_FINDING, LabelSpace(("Normal", "Tuberculosis"))])
def labels(request) -> LabelSpace:
    return request.param


@pytest.fixture
def dataset(tmp_path, labels):
    write_dataset(tmp_path / "dataset", labels, num_images=(24, 8, 8), image_px=16)
    return tmp_path / "dataset"


def test_a_dataset_of_any_task_is_read_back_and_sound(dataset, labels):
    manifest = Manifest.read(dataset)
    assert manifest.labels == labels
    assert find_differences(dataset) == []
    for split, counts in manifest.splits.items():
        records = [record for each, record in records_of(dataset, 16) if each == split]
        for index, name in enumerate(labels.class_names):
            assert sum(record.labels[index] for record in records) == counts.class_counts[name]
        assert all(record.vector == labels.vector(record.label, record.vector) for record in records)


@pytest.mark.parametrize(
    ("vector", "label", "text"),
    [((1, 0, 1, -1), -1, "Edema|Mass"), ((0, -1, 0, 0), -1, ""), ((-1, -1, -1, -1), -1, "")],
)
def test_unknown_findings_are_masked_and_the_text_names_those_that_are_present(vector, label, text):
    fields = {"encoded": b"x", "encoding": "raw", "height": 1, "width": 1, "label": label}
    record = Record.of_vector(vector, **fields, filename="a", source_id="b", group="c")
    data = to_example(record, FINDINGS.class_names)
    features = tf.train.Example.FromString(data).features.feature
    assert list(features["image/class/label"].int64_list.value) == [label]
    assert list(features["image/class/labels"].int64_list.value) == [int(value == 1) for value in vector]
    assert list(features["image/class/mask"].int64_list.value) == [int(value >= 0) for value in vector]
    assert features["image/class/text"].bytes_list.value[0].decode() == text
    assert from_example(data) == record
    assert record.vector == vector


def test_the_bytes_of_a_record_of_two_classes_stay_as_they_were():
    fields = {"encoded": bytes(16), "encoding": "raw", "height": 4, "width": 4, "label": 1}
    record = Record(**fields, filename="a.png", source_id="ab" * 32, group="0" * 16, domain="virus")
    assert sha256(to_example(record)).hexdigest() == "19c8475f82bc1a012f7b4765df1da6a43d721d83c99a2579bfb731e22def2f68"
    vector = DEFAULT_LABELS.vector(1)
    assert (
        Record.of_vector(vector, **fields, filename="a.png", source_id="ab" * 32, group="0" * 16, domain="virus")
        == record
    )


def test_the_manifest_of_two_classes_stays_as_it_was(tmp_path):
    split = Split.from_counts({"NORMAL": 1, "PNEUMONIA": 3}, 3)
    manifest = make_manifest(
        num_inputs=12,
        num_records=12,
        options={"equalization": "hist", "encoding": "raw"},
        splits=dict.fromkeys(("train", "val", "test"), split),
        domains={"a": {"train": {"NORMAL": 1, "PNEUMONIA": 3}}},
    )
    assert manifest.fingerprint == "f8301bf4af8f43ab850f85a6387a32f3091d0792e85fdc65d8ddc71246fee382"
    manifest.write(tmp_path)
    assert (
        sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
        == "bb8a62fa9c6b5fbdacf775837c397e2e1e17791f3b3018c5182df5a2fc7c924d"
    )


@pytest.mark.parametrize(
    ("labels", "change", "said"),
    [
        (
            FINDINGS,
            {"labels": (1, 1, 1, 1), "label_mask": (1, 1, 0, 1)},
            "are not 4 times 0 or 1, and 0 where the mask",
        ),
        (FINDINGS, {"labels": (1,), "label_mask": (1,)}, "are not 4 times 0 or 1"),
        (FINDINGS, {"label": 0}, "has the label 0; expected -1"),
        (FINDINGS, {"labels": (0, 0, 0, 0), "label_mask": (0, 0, 0, 0)}, "expected known labels"),
        (THREE_CLASSES, {"labels": (0, 1), "label_mask": (1, 1)}, "labels (0, 1) are not those of its class"),
        (THREE_CLASSES, {"label_mask": (1, 0, 1)}, "are not those of its class"),
        (THREE_CLASSES, {"label": 1, "labels": (0, 1, 0)}, "expected classes"),
    ],
)
def test_a_record_with_other_labels_than_the_manifest_says_is_found(tmp_path, labels, change, said):
    manifest = write_dataset(tmp_path, labels, num_images=(8, 6, 0), image_px=16)
    shard = manifest.shards(16, "val")[0]
    first, *others = read_frames(tmp_path / shard.path)
    names = [*labels.class_names][: len(change.get("labels", labels.class_names))]
    forged = to_example(replace(from_example(first), **change), names)
    write_shard(tmp_path, shard.path, map(frame, [forged, *others]))
    assert any(said in line for line in find_differences(tmp_path))


@pytest.mark.parametrize(
    ("labels", "place", "value", "said"),
    [
        (FINDINGS, "task", "several", "task: expected one of binary, multiclass, multilabel"),
        (FINDINGS, "task", "binary", "class_names: expected two different names for the task binary"),
        (THREE_CLASSES, "class_names", ["A", "B"], "class_names: expected three or more different names"),
        (THREE_CLASSES, "class_names", ["A", "A", "B"], "class_names: expected three or more different names"),
        (FINDINGS, "splits", {"known_counts": {"Edema": 9999}}, "known_counts: expected the classes"),
        (FINDINGS, "splits", {"known_counts": dict.fromkeys(FINDINGS.class_names, 9999)}, "Edema: expected at most 8"),
        (FINDINGS, "splits", {"known_counts": dict.fromkeys(FINDINGS.class_names, 0)}, "at most 0 images, which are"),
    ],
)
def test_a_forged_manifest_of_any_task_is_one_line(tmp_path, monkeypatch, labels, place, value, said):
    write_dataset(tmp_path, labels, num_images=(8, 4, 0), image_px=16)
    content = json.loads((tmp_path / "manifest.json").read_text())
    if place == "splits":
        content["splits"]["train"] |= value
    else:
        content[place] = value
    monkeypatch.setattr(Manifest, "fingerprint", content["fingerprint"])
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        Manifest.read(tmp_path)
