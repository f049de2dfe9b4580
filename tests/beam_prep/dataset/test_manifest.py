"""The manifest as a contract."""

import json
from dataclasses import replace

import pytest
from dataset_files import make_manifest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest, Shard, Split
from beam_prep.storage import json_schema


@pytest.fixture
def manifest() -> Manifest:
    split = Split.from_counts({"NORMAL": 1341, "PNEUMONIA": 3875}, num_groups=3000)
    empty = Split.from_counts({"NORMAL": 0, "PNEUMONIA": 0}, num_groups=0)
    shard = Shard("size-90/train-00000-of-00001.tfrecord", 5216, 10**6, "ab" * 32)
    return make_manifest(
        num_inputs=5216,
        num_records=5216,
        options={"image_sizes": [90], "equalization": "hist", "encoding": "raw"},
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
        (lambda content: content.update(num_duplicates=1), "does not match its fingerprint"),
        (lambda content: content.pop("splits"), "not a manifest"),
        (lambda content: content.update(surprise=1), "not a manifest"),
        (
            lambda content: content["sizes"]["90"]["train"][0].update(path="../x"),
            r"\[0\].path: expected .*size-90",
        ),
        (
            lambda content: content["sizes"]["90"]["train"][0].update(path="/etc/x"),
            r"\[0\].path: expected .*size-90",
        ),
    ],
)
def test_a_manifest_of_another_kind_is_refused(manifest, tmp_path, change, said):
    manifest.write(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        Manifest.read(tmp_path)


def at(content, place):
    """Returns the object that holds an entry, and the name of the entry."""
    *parents, name = place.split("/")
    for parent in parents:
        content = content[int(parent) if isinstance(content, list) else parent]
    return content, name


SHARD, HUGE = "sizes/90/train/0", 123454321


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("options", {}, "options: expected an entry equalization, found none"),
        (
            "options/equalization",
            "evil",
            'options.equalization: expected one of hist, hist_full, clahe, none, found "evil"',
        ),
        ("options/encoding", "jpeg", "options.encoding: expected one of raw, png"),
        ("options/deep", [[[]]], r"options.deep\[0\]: expected a finite number, a text, true, false or null"),
        ("options/rate", float("nan"), "options.rate: expected a finite number"),
        ("num_records", float("nan"), "num_records: expected a whole number from 0 to 1000000000, found NaN"),
        ("num_rejected", -5, "num_rejected: expected a whole number from 0 to 1000000000, found -5"),
        ("num_rejected", True, "num_rejected: expected a whole number .*, found true"),
        ("num_inputs", HUGE, "expected JSON, found something else .*digits"),
        ("num_records", 10**9, "num_records: expected 1000000000, the sum of its parts, found 5216"),
        ("splits/train/num_records", 10**9, "expected 5216, the sum|splits.train.num_records: expected 1000000000"),
        ("splits/train/class_counts/NORMAL", -1, "splits.train.class_counts.NORMAL: expected a whole number"),
        ("splits/train/class_weights/NORMAL", float("inf"), "class_weights.NORMAL: expected a finite number"),
        ("splits/train/class_counts", {"A": 1, "B": 2}, "splits.train.class_counts: expected the classes"),
        ("splits/other", {}, "a name in splits: expected one of train, val, test"),
        ("pixels/90/std", 10**9, "pixels.90.std: expected a finite number from 0 to 255"),
        (f"{SHARD}/num_records", 10**9, r"sizes.90.train: expected 5216, the sum|size_bytes: expected at least"),
        (f"{SHARD}/size_bytes", 10, r"sizes.90.train\[0\].size_bytes: expected at least 16 bytes for each"),
        (f"{SHARD}/size_bytes", 2**62, r"sizes.90.train\[0\].size_bytes: expected a whole number"),
        (f"{SHARD}/sha256", "x", r"sizes.90.train\[0\].sha256: expected a text such as"),
        (f"{SHARD}/path", "size-90/val-00000-of-00001.tfrecord", r"begins with size-90/train-"),
        ("sizes/90/train", {}, "sizes.90.train: expected a list"),
        ("sizes/9٠", {}, "a name in sizes: expected a text such as 90"),
        ("sizes/9000", {}, "expected image sizes from 16 to 4096 px, found 9000"),
        ("class_names", "NORMAL", "class_names: expected a list"),
        ("class_names", ["NORMAL", "=1+1"], r"class_names\[1\]: expected the name of a class"),
        ("class_names", ["NORMAL", "\x1b[2J"], r"class_names\[1\]: expected the name of a class"),
        ("software", {"python": ["3.11"]}, "software.python: expected a text"),
        ("warnings", ["a", 5], r"warnings\[1\]: expected a text, found 5"),
    ],
)
def test_a_forged_entry_is_one_line_that_names_it(manifest, tmp_path, monkeypatch, place, value, said):
    manifest.write(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    holder, name = at(content, place)
    holder[name] = value
    # The stranger has computed the fingerprint anew.
    monkeypatch.setattr(Manifest, "fingerprint", content["fingerprint"])
    text = json.dumps(content) if value != HUGE else json.dumps(content).replace("123454321", "9" * 5000)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        Manifest.read(tmp_path)
    assert "\n" not in str(error.value)


def test_nesting_and_size_are_limited(tmp_path, monkeypatch):
    for text in ("[" * 100_000, '{"a":' * 100_000, f'{{"schema_version": 1, "x": {"[" * 50}{"]" * 50}}}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match=r"nested too deeply|at most 20 levels"):
            Manifest.read(tmp_path)
    with open(tmp_path / "manifest.json", "wb") as file:
        file.truncate(2**40)  # a file of holes, which takes no room on the disk
    with pytest.raises(UsageError, match=f"at most {json_schema.MAX_JSON_BYTES} bytes of JSON, found more"):
        Manifest.read(tmp_path)
    monkeypatch.setattr(json_schema, "MAX_JSON_BYTES", 10)
    (tmp_path / "manifest.json").write_text("[1, 2, 3, 4, 5]")
    with pytest.raises(UsageError, match="at most 10 bytes of JSON, found more"):
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
