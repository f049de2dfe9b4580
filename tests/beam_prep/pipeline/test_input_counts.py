"""Every file below the input folder is a record, a duplicate, a rejection, or counted as left out."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from PIL import Image

from beam_prep import cli
from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline import local_job
from beam_prep.pipeline.local_job import prepare


def scan(seed: int) -> np.ndarray:
    """Returns the pixels of an image that is like no other one: uint8 [64, 64]."""
    spots = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(spots).resize((64, 64), Image.Resampling.BICUBIC))


@pytest.fixture
def messy(tmp_path) -> Path:
    """Makes an input folder as people have it: 16 images of which 3 are rejected, and 7 other entries."""
    root, pool = tmp_path / "input", tmp_path / "pool"
    for folder in (root / "images" / "NORMAL", root / "masks" / "NORMAL", root / ".cache", pool):
        folder.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(scan(number)).save(root / "images" / "NORMAL" / f"{number}.webp", lossless=True)
        (pool / f"I000000{number}").write_bytes(dicom_files.file(scan(10 + number), PatientID=f"p{number}"))
    (root / "PNEUMONIA").symlink_to(pool)
    (root / "again").symlink_to(pool)
    mask = Image.fromarray((scan(0) > 128).astype(np.uint8) * 255)
    mask.save(root / "masks" / "NORMAL" / "0.png")
    mask.save(root / "images" / "NORMAL" / "overlay.png")
    os.mkfifo(root / "images" / "NORMAL" / "pipe.png")
    (root / "images" / "NORMAL" / "gone.png").symlink_to("nowhere")
    (root / "images" / "NORMAL" / "broken.gif").write_bytes(b"GIF89a")
    for name in ("readme.txt", "notes.txt", "table.csv"):
        (root / name).write_text("text")
    return root


def test_the_summary_and_the_page_account_for_every_file(messy, tmp_path, capsys):
    config = PrepConfig(input=str(messy), output=str(tmp_path / "out"), image_sizes=(32,), max_rejected_fraction=0.3)
    cli.prepare(config, [])
    printed = capsys.readouterr().out
    said = (
        "3 files are no images: .txt 2, .csv 1",
        "1 file is a mask or annotation, no X-ray: masks 1",
        "1 file or folder is hidden",
        "1 link leads to a folder that is listed already",
    )
    assert "inputs:    16 = 13 records + 0 duplicates + 3 rejected" in printed
    assert [line for line in printed.splitlines() if line.startswith("left out:")] == [f"left out:  {s}" for s in said]
    assert "1 record has two grey values only" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(words in page for words in said)
    (suspect,) = (tmp_path / "out" / "suspect.jsonl").read_text().splitlines()
    assert json.loads(suspect) == {"filename": "images/NORMAL/overlay.png", "reason": "two_values"}
    rejected = map(json.loads, (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    assert {(Path(row["filename"]).name, row["reason"]) for row in rejected} == {
        ("broken.gif", "undecodable"),
        ("gone.png", "unreadable"),
        ("pipe.png", "unreadable"),
    }


def test_an_interrupted_job_finds_its_images_behind_links_again(messy, tmp_path, monkeypatch, caplog):
    config = PrepConfig(input=str(messy), output=str(tmp_path / "out"), image_sizes=(32,), max_rejected_fraction=0.1)
    with pytest.raises(RunError, match="3 of 16 inputs are rejected"):
        prepare(config)
    prepare(PrepConfig(**{**vars(config), "max_rejected_fraction": 0.3}))
    assert "13 of 16 images are done" in caplog.text


def test_what_is_counted_does_not_change_the_fingerprint(dataset, images, tmp_path):
    (images / "notes.txt").write_text("text")
    prepare(PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32, 96), num_shards=2))
    counted, plain = Manifest.read(tmp_path / "out"), Manifest.read(dataset)
    assert counted.input_counts["no_image"] == {".txt": 1}
    assert counted.fingerprint == plain.fingerprint


def test_an_input_without_images_says_what_is_there(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"found no image in it or its folders: 1 file is no image: \.nii 1"):
        prepare(PrepConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out")))


@pytest.fixture
def split_folders(images) -> Path:
    """The phantoms with a validation folder: 12 of the images of train."""
    train = images / "chest_xray" / "train"
    for name in ("NORMAL", "PNEUMONIA"):
        (images / "chest_xray" / "Validation" / name).mkdir(parents=True)
        for path in sorted((train / name).iterdir())[-6:]:
            shutil.move(path, images / "chest_xray" / "Validation" / name)
    return images


def test_train_and_val_folders_are_pooled_which_is_said(split_folders, dataset, tmp_path, capsys):
    flags = {"image_sizes": (32, 96), "num_shards": 2}
    cli.prepare(PrepConfig(input=str(split_folders), output=str(tmp_path / "out"), **flags), [])
    pooled = Manifest.read(tmp_path / "out").input_counts["pooled"]
    assert f"pooled:    {pooled['train']} of train and 12 of val folders are divided anew" in capsys.readouterr().out
    assert Manifest.read(tmp_path / "out").splits == Manifest.read(dataset).splits


def test_keep_splits_takes_the_folders_as_they_are(split_folders, tmp_path, capsys):
    config = PrepConfig(input=str(split_folders), output=str(tmp_path / "out"), image_sizes=(32,), keep_splits=True)
    cli.prepare(PrepConfig(**{**vars(config), "max_rejected_fraction": 1.0}), [])
    manifest = Manifest.read(tmp_path / "out")
    moved = manifest.num_rejected  # images of train whose patients have an image in val, too
    assert manifest.rejected_by_reason in ({}, {"patient_in_val": moved})
    assert manifest.splits["val"].num_records == 12
    assert manifest.num_records + moved == 80
    assert "pooled:" not in capsys.readouterr().out


def test_splits_by_domain_where_no_domain_is_known_are_by_class_alone_which_is_said(
    dataset, tmp_path, monkeypatch, capsys
):
    known = Manifest.read(dataset)
    known = replace(known, options={**known.options, "stratify_domains": True})
    config = PrepConfig(input="images", output=str(tmp_path / "out"), stratify_domains=True)
    for manifest, count in ((known, 0), (replace(known, domains={}), 1)):
        monkeypatch.setattr(local_job, "prepare", lambda *_, found=manifest: found)
        cli.prepare(config, [])
        assert capsys.readouterr().out.count("none is known, so that --stratify_domains divides by class") == count


def test_keep_splits_without_folders_of_splits_is_refused(messy, tmp_path):
    config = PrepConfig(input=str(messy), output=str(tmp_path / "out"), keep_splits=True)
    with pytest.raises(UsageError, match="--keep_splits: expected folders named train, val or test, found none"):
        prepare(config)
