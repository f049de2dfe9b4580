"""The raw images that the dataset page shows."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from beam_prep.config import PrepConfig
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare
from beam_prep.report.dataset_page import write_report
from beam_prep.report.pictures import SHOWN_DUPLICATES, SHOWN_REJECTED, rejected_pictures, side_by_side


@pytest.fixture
def folder(images) -> Path:
    """Phantoms with copies, copies under the other class, pictures saved anew or mirrored, and a broken file."""
    normal = images / "chest_xray" / "train" / "NORMAL"
    first, second, third, fourth, fifth = sorted(normal.glob("*.jpeg"))[:5]
    shutil.copy(first, normal / "IM-9001-0001.jpeg")
    shutil.copy(second, images / "chest_xray" / "train" / "PNEUMONIA" / "person901_virus_1.jpeg")
    Image.open(third).save(normal / "IM-9003-0001.jpeg", quality=97)
    ImageOps.mirror(Image.open(fifth)).save(normal / "IM-9005-0001.jpeg", quality=97)
    (normal / "IM-9004-0001.jpeg").write_bytes(fourth.read_bytes()[:500])
    return images


def _alts(html: str) -> list[str]:
    return re.findall(r'<img [^>]*alt="([^"]*)"', html)


def test_rejected_files_and_copies_are_shown_where_they_can_be_decoded(folder, tmp_path):
    prepare(PrepConfig(input=str(folder), output=str(tmp_path / "out"), image_sizes=(32,)))
    html = (tmp_path / "out" / "report.html").read_text()
    rejected = [alt for alt in _alts(html) if alt.startswith("Rejected image")]
    assert [Path(alt.split()[-1]).parent.name for alt in rejected] == ["NORMAL", "PNEUMONIA"]
    assert "Two classes" in html
    assert "IM-9004-0001.jpeg" in html  # listed, not shown
    assert "Left out chest_xray/train/NORMAL/IM-9001-0001.jpeg" in _alts(html)
    near = Manifest.read(tmp_path / "out").num_near_duplicates
    assert near >= 2
    assert ", mirrored</td>" in html
    assert len([alt for alt in _alts(html) if alt.startswith("Looks like")]) == near

    without = write_report(tmp_path / "out").read_text()
    assert not [alt for alt in _alts(without) if alt.startswith(("Rejected image", "Left out", "Looks like"))]
    assert without.count("the raw images were not given; name their folder with --input.") >= 3


def test_only_some_of_each_reason_are_shown_and_those_rejected_together_stand_together(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(tmp_path / f"{number:02d}.png")
    rows = [
        {"filename": f"{n:02d}.png", "reason": "two_classes", "detail": f"same pixels: pair {n % 10}"}
        for n in range(20)
    ]
    rows += [{"filename": f"gone{n}.png", "reason": "unreadable", "detail": ""} for n in range(3)]
    (shown,) = rejected_pictures(rows, tmp_path).items()
    assert shown[0] == "two_classes"
    assert [picture.filename for picture in shown[1]] == ["00.png", "10.png", "01.png", "11.png", "02.png", "12.png"]
    assert len(shown[1]) == SHOWN_REJECTED
    assert Image.open(io.BytesIO(base64.b64decode(shown[1][0].uri.split(",")[1]))).size == (60, 40)


def test_files_that_changed_since_are_not_shown_as_copies(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "other", "copy"):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "one.png", tmp_path / "copy.png")
    rows = [(name, "one.png", 0, False) for name in ("other.png", "copy.png", "gone.png")]
    (copies,) = side_by_side(rows, tmp_path)
    assert (copies.one.filename, copies.other.filename, copies.distance) == ("copy.png", "one.png", 0)
    assert len(side_by_side([("copy.png", "one.png", 0, False)] * 20, tmp_path)) == SHOWN_DUPLICATES


def test_a_list_of_a_strangers_dataset_shows_no_file_outside_the_input(folder, tmp_path):
    secret = next(folder.rglob("*.jpeg"))
    (tmp_path / "input").mkdir()
    shutil.copy(secret, tmp_path / "input" / "own.jpeg")
    outside = (f"../{secret.relative_to(tmp_path)}", str(secret), "a\0b", "own.jpeg/../../images", "./own.jpeg")
    rows = [{"filename": name, "reason": "blank", "detail": ""} for name in (*outside, "own.jpeg")]
    shown = rejected_pictures(rows, tmp_path / "input")
    assert [picture.filename for picture in shown["blank"]] == ["own.jpeg"]
    assert side_by_side([(name, name, 0, False) for name in outside], tmp_path / "input") == []
