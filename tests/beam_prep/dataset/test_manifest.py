"""The manifest as a contract."""

import json
from dataclasses import replace

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest, Shard, Split


@pytest.fixture
def manifest() -> Manifest:
    split = Split.from_counts({"NORMAL": 1341, "PNEUMONIA": 3875}, num_groups=3000)
    empty = Split.from_counts({"NORMAL": 0, "PNEUMONIA": 0}, num_groups=0)
    shard = Shard("size-90/train-00000-of-00001.tfrecord", 5216, 1000, "ab" * 32)
    return Manifest(
        num_inputs=5216,
        num_records=5216,
        num_duplicates=0,
        num_rejected=0,
        num_near_duplicates=0,
        rejected_by_reason={},
        options={"image_sizes": [90], "equalization": "hist"},
        splits={"train": split, "val": empty, "test": empty},
        pixels={"90": {"mean": 127.5, "std": 73.0}},
        sizes={"90": {"train": [shard], "val": [], "test": []}},
        software={"python": "3.11"},
    )


def test_round_trip(manifest, tmp_path):
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["fingerprint"] == manifest.fingerprint
    assert content["sizes"]["90"]["train"][0]["num_records"] == 5216
    assert content["class_names"] == ["NORMAL", "PNEUMONIA"]


def test_a_manifest_of_version_1_keeps_its_fingerprint(manifest, tmp_path):
    replace(manifest, schema_version=1).write(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    for name in ("task", "domains"):
        del content[name]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert Manifest.read(tmp_path) == replace(manifest, schema_version=1)
    assert manifest.fingerprint != replace(manifest, domains={"a": {}}).fingerprint


def test_class_weights_are_those_of_the_study(manifest):
    weights = manifest.splits["train"].class_weights
    assert round(weights["NORMAL"], 4) == 1.9448
    assert round(weights["PNEUMONIA"], 4) == 0.6730
    assert manifest.splits["val"].class_weights == {"NORMAL": None, "PNEUMONIA": None}


def test_fingerprint_follows_the_content_but_not_the_software(manifest):
    assert replace(manifest, software={"python": "3.12"}).fingerprint == manifest.fingerprint
    assert replace(manifest, options={"equalization": "none"}).fingerprint != manifest.fingerprint


def test_a_size_that_is_not_there_is_refused_with_those_that_are(manifest):
    assert manifest.shards(90, "train")
    with pytest.raises(UsageError, match=r"224 px is not in the dataset, which holds 90 px"):
        manifest.shards(224, "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(schema_version=99), "schema version 99"),
        (lambda content: content.update(num_records=1), "does not match its fingerprint"),
        (lambda content: content.pop("splits"), "not a manifest"),
        (lambda content: content.update(surprise=1), "not a manifest"),
        (lambda content: content["sizes"]["90"]["train"][0].update(path="../x"), "lies outside the dataset"),
        (lambda content: content["sizes"]["90"]["train"][0].update(path="/etc/x"), "lies outside the dataset"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(manifest, tmp_path, change, said):
    manifest.write(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"JSON|schema version"):
        Manifest.read(tmp_path)


def test_a_folder_without_one_is_no_dataset(tmp_path):
    with pytest.raises(UsageError, match="a folder without it"):
        Manifest.read(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        Manifest.read(tmp_path / "absent")
