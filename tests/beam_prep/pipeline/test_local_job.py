"""A whole preparation on this machine, on a real Beam runner."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_files import files_of, records_of
from PIL import Image, ImageOps

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.verify import find_differences
from beam_prep.images.decode import decode, decode_record, digest
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.discover import find_sources


def test_every_image_becomes_the_record_that_its_pixels_make(dataset, phantoms):
    seen = set()
    for _, record in records_of(dataset, 32):
        path = phantoms / record.filename
        decoded = decode(path.read_bytes())
        expected = Pyramid(equalize(decoded, "hist")).resize(32)
        pixels = decode_record(record.encoded, encoding=record.encoding, height=record.height, width=record.width)
        assert np.array_equal(pixels, np.asarray(expected))
        assert record.source_id == digest(decoded.tobytes())
        assert record.label == (path.parent.name == "PNEUMONIA")
        seen.add(record.filename)
    assert len(seen) == 80


def test_counts_add_up_and_the_test_folder_stays_test(dataset):
    manifest = Manifest.read(dataset)
    assert manifest.num_inputs == 80
    assert manifest.num_records + manifest.num_duplicates + manifest.num_rejected == manifest.num_inputs
    assert sum(split.num_records for split in manifest.splits.values()) == manifest.num_records
    for split, record in records_of(dataset, 32):
        assert (split == "test") == ("/test/" in record.filename)


def test_sizes_hold_the_same_records_in_the_same_shards(dataset):
    small = [(split, record.filename) for split, record in records_of(dataset, 32)]
    assert small == [(split, record.filename) for split, record in records_of(dataset, 96)]


def test_no_patient_is_in_two_splits_and_no_name_of_one_is_in_a_group(dataset):
    groups: dict[str, set[str]] = {}
    for split, record in records_of(dataset, 32):
        groups.setdefault(split, set()).add(record.group)
        assert "person" not in record.group
        assert "IM-" not in record.group
    splits = list(groups.values())
    assert len(set().union(*splits)) == sum(map(len, splits))
    assert {name: len(members) for name, members in groups.items()} == {
        name: split.num_groups for name, split in Manifest.read(dataset).splits.items()
    }


def test_the_order_of_the_listing_does_not_matter(phantoms, dataset, tmp_path, monkeypatch):
    listed, counts = find_sources(phantoms)
    monkeypatch.setattr("beam_prep.pipeline.local_job.list_inputs", lambda config, raw, rule: (listed[::-1], counts))
    prepare(PrepConfig(input=str(phantoms), output=str(tmp_path / "other"), image_sizes=(32, 96), num_shards=2))
    assert files_of(tmp_path / "other") == files_of(dataset)


def test_broken_files_are_rejected_with_their_reason_and_stop_nothing(images, tmp_path):
    folder = images / "chest_xray" / "train" / "NORMAL"
    whole = next(folder.glob("*.jpeg")).read_bytes()
    (folder / "IM-9001-0001.jpeg").write_bytes(whole[: len(whole) // 2])
    (folder / "IM-9002-0001.jpeg").write_bytes(b"")
    (folder / "IM-9003-0001.jpeg").write_bytes(b"<html>not found</html>")
    (folder / "IM-9004-0001.jpeg").symlink_to(tmp_path / "gone.jpeg")
    Image.new("L", (5, 5)).save(folder / "IM-9005-0001.png")
    Image.new("L", (64, 64)).save(images / "stray.png")
    shutil.copy(next(folder.glob("*.jpeg")), folder / "IM-9006-0001.jpeg")
    manifest = prepare(
        PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), max_rejected_fraction=0.1)
    )
    rows = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert {(Path(row["filename"]).name, row["reason"]) for row in rows} == {
        ("IM-9001-0001.jpeg", "undecodable"),
        ("IM-9002-0001.jpeg", "empty_file"),
        ("IM-9003-0001.jpeg", "not_an_image"),
        ("IM-9004-0001.jpeg", "unreadable"),
        ("IM-9005-0001.png", "too_small"),
        ("stray.png", "no_class"),
    }
    assert all(row["detail"] for row in rows)
    assert (manifest.num_inputs, manifest.num_records, manifest.num_duplicates, manifest.num_rejected) == (87, 80, 1, 6)
    assert not (tmp_path / "out" / "_work").exists()


def test_too_many_rejections_stop_the_job_before_there_is_a_dataset(images, tmp_path):
    folder = images / "chest_xray" / "train" / "NORMAL"
    for number in range(6):
        (folder / f"IM-900{number}-0001.jpeg").write_bytes(b"broken")
    config = PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,))
    with pytest.raises(RunError, match=r"6 of 86 inputs are rejected \(6 not_an_image\), more than .* 0.05 allows"):
        prepare(config)
    with pytest.raises(UsageError):
        Manifest.read(tmp_path / "out")
    assert prepare(replace(config, max_rejected_fraction=0.1)).num_rejected == 6


def test_the_same_images_twice_in_one_tree_come_out_once(images, dataset, tmp_path):
    shutil.copytree(images / "chest_xray", images / "chest_xray" / "chest_xray")
    shutil.copytree(images / "chest_xray" / "test", images / "__MACOSX" / "chest_xray" / "test")
    manifest = prepare(PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), num_shards=2))
    assert (manifest.num_inputs, manifest.num_records, manifest.num_duplicates) == (160, 80, 80)
    assert manifest.splits == Manifest.read(dataset).splits


def test_a_picture_saved_anew_or_mirrored_under_another_name_stays_in_the_split_of_the_first(images, tmp_path):
    folder = images / "chest_xray" / "train" / "NORMAL"
    for number, path in enumerate(sorted(folder.glob("*.jpeg"))[:6]):
        Image.open(path).save(folder / f"IM-90{number}0-0001.jpeg", quality=97)
        ImageOps.mirror(Image.open(path)).save(folder / f"IM-80{number}0-0001.jpeg", quality=97)
    manifest = prepare(PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), val_fraction=0.5))
    lines = (tmp_path / "out" / "near_duplicates.jsonl").read_text().splitlines()
    assert manifest.num_records == 92
    assert manifest.num_near_duplicates == len(lines)
    split_of = {record.filename: split for split, record in records_of(tmp_path / "out", 32)}
    pairs = [json.loads(line) for line in lines]
    assert len([pair for pair in pairs if not pair["mirrored"]]) >= 5
    assert len([pair for pair in pairs if pair["mirrored"]]) >= 5
    for pair in pairs:
        assert split_of[pair["filename"]] == split_of[pair["near_duplicate_of"]]


def test_a_test_split_by_fraction_is_refused_where_there_is_a_test_folder(images, tmp_path):
    config = PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), test_fraction=0.3)
    with pytest.raises(UsageError, match="has a test set already"):
        prepare(config)
    shutil.rmtree(images / "chest_xray" / "test")
    assert prepare(config).splits["test"].num_records > 5


def test_metadata_tells_class_patient_and_split_of_any_layout(images, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = ["path,label,group,split"]
    for number, path in enumerate(sorted(images.rglob("*.jpeg"))):
        shutil.copy(path, flat / f"{number}.jpeg")
        split = ("train", "val", "test")[number // 10 % 3]
        rows.append(f"{number}.jpeg,{path.parent.name},patient{number // 10},{split}")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    metadata = {"metadata_csv": str(tmp_path / "m.csv"), "max_rejected_fraction": 0.0}
    manifest = prepare(PrepConfig(input=str(flat), output=str(tmp_path / "out"), image_sizes=(32,), **metadata))
    assert {name: (s.num_records, s.num_groups) for name, s in manifest.splits.items()} == {
        "train": (30, 3),
        "val": (30, 3),
        "test": (20, 2),
    }


def test_pixel_statistics_are_those_of_the_training_records(dataset):
    pixels = [
        decode_record(record.encoded, encoding=record.encoding, height=32, width=32)
        for split, record in records_of(dataset, 32)
        if split == "train"
    ]
    stated = Manifest.read(dataset).pixels["32"]
    assert stated["mean"] == pytest.approx(np.mean(pixels))
    assert stated["std"] == pytest.approx(np.std(pixels))


def test_png_records_hold_the_same_pixels(phantoms, dataset, tmp_path):
    config = PrepConfig(
        input=str(phantoms), output=str(tmp_path / "png"), image_sizes=(32,), num_shards=2, encoding="png"
    )
    prepare(config)

    def pixels(folder: Path) -> dict[str, bytes]:
        return {
            record.filename: decode_record(record.encoded, encoding=record.encoding, height=32, width=32).tobytes()
            for _, record in records_of(folder, 32)
        }

    assert pixels(tmp_path / "png") == pixels(dataset)


def test_a_class_of_which_nothing_is_left_is_no_dataset(tmp_path):
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "in" / name).mkdir(parents=True)
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "in/NORMAL/a.png")
    (tmp_path / "in/PNEUMONIA/b.png").write_bytes(b"broken")
    with pytest.raises(
        RunError, match=r"no image of class PNEUMONIA is left: 1 of 2 inputs are rejected .1 not_an_image"
    ):
        prepare(PrepConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out")))
    with pytest.raises(UsageError):
        Manifest.read(tmp_path / "out")


def test_an_output_that_holds_something_is_left_alone(phantoms, dataset, tmp_path):
    before = files_of(dataset)
    with pytest.raises(UsageError, match="holds a dataset already"):
        prepare(PrepConfig(input=str(phantoms), output=str(dataset)))
    assert files_of(dataset) == before
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.doc"):
        prepare(PrepConfig(input=str(phantoms), output=str(tmp_path), overwrite=True))
    assert (tmp_path / "thesis.doc").read_text() == "mine"
    with pytest.raises(UsageError, match="lies inside"):
        prepare(PrepConfig(input=str(phantoms), output=str(phantoms / "out")))


def test_overwrite_leaves_nothing_of_the_old_dataset(phantoms, tmp_path):
    output = tmp_path / "out"
    prepare(PrepConfig(input=str(phantoms), output=str(output), image_sizes=(32, 40), num_shards=3))
    prepare(PrepConfig(input=str(phantoms), output=str(output), image_sizes=(32,), num_shards=2, overwrite=True))
    assert not (output / "size-40").exists()
    assert find_differences(output) == []
