import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from html_check import assert_valid
from PIL import Image

from beam_prep.console.errors import UsageError
from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.image_stats import ImageStats
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.patient_groups import rank
from beam_prep.dataset.schema import CLASS_NAMES, SPLITS
from beam_prep.dataset.tfrecord import frame, write_shard
from beam_prep.images.decode import decode, digest
from beam_prep.images.pyramid import Pyramid
from beam_prep.pages.page import NORMAL, figure_svg, image_uri
from beam_prep.planning.label_audits import LabelAudits
from beam_prep.planning.shortcut_audit import make_audit
from beam_prep.report.dataset_page import write_report

SIZE_PX = 32
HOSTILE = "train/NORMAL/<script>alert('x')&.png"


def _write_raw(root: Path, filename: str, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(20, 120, (48, 64), dtype=np.uint8)
    path = root / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return decode(path.read_bytes())


def _make_dataset(tmp_path: Path, train: dict[str, int]) -> tuple[Path, Path]:
    """A dataset with the given numbers of training images by class, an empty val and one NORMAL test image."""
    raw, dataset = tmp_path / "raw", tmp_path / "phantoms"
    names = {
        "train": [f"train/{name}/person{i}.png" for name in CLASS_NAMES for i in range(train[name])],
        "val": [],
        "test": ["test/NORMAL/last.png"],
    }
    if train["NORMAL"]:
        names["train"][0] = HOSTILE
    shards, splits = {}, {}
    for split in SPLITS:
        frames = []
        for filename in names[split]:
            label = int("PNEUMONIA" in filename)
            image = _write_raw(raw, filename, seed=len(frames))
            made = Pyramid(image, "hist").resize(SIZE_PX)
            record = Record(
                made.tobytes(),
                "raw",
                SIZE_PX,
                SIZE_PX,
                label,
                filename,
                digest(image.tobytes()),
                f"g{len(frames)}",
            )
            frames.append(frame(to_example(record)))
        shards[split] = [write_shard(dataset, f"size-32/{split}-00000-of-00001.tfrecord", frames)] if frames else []
        counts = {name: sum(f"/{name}/" in filename for filename in names[split]) for name in CLASS_NAMES}
        splits[split] = Split.from_counts(counts, num_groups=len(frames))
    num_records = sum(map(len, names.values()))
    Manifest(
        num_inputs=num_records + 5,
        num_records=num_records,
        num_duplicates=2,
        num_rejected=3,
        num_near_duplicates=1,
        rejected_by_reason={"empty_file": 1, "undecodable": 2},
        options={"image_sizes": [SIZE_PX], "equalization": "hist", "encoding": "raw"},
        splits=splits,
        pixels={str(SIZE_PX): {"mean": 127.5, "std": 73.0}},
        sizes={str(SIZE_PX): shards},
        software={"numpy": "9.9.9"},
    ).write(dataset)
    stats = {  # PNEUMONIA is half as wide, in half of the files
        label: [ImageStats(800 - 400 * label * (i % 2), 600, 75, 5000 + i, 0, 90_000) for i in range(40)]
        for label in (0, 1)
    }
    audited = [
        (label, rank(f"{label}-{i}"), each) for label, members in stats.items() for i, each in enumerate(members)
    ]
    LabelAudits({"PNEUMONIA": make_audit(audited)}, is_binary=True).write(dataset)
    rejected = [
        {"filename": f"train/NORMAL/bad{i}.png", "reason": "undecodable", "detail": "cut <b>"} for i in range(3)
    ]
    duplicates = [{"filename": f"copy{i}.png", "duplicate_of": "kept.png"} for i in range(2)]
    (dataset / "rejected.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rejected))
    near = {"filename": "twin.png", "near_duplicate_of": "kept.png", "distance": 3}
    (dataset / "near_duplicates.jsonl").write_text(json.dumps(near) + "\n")
    (dataset / "duplicates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in duplicates))
    return dataset, raw


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_page_tells_counts_classes_weights_and_origin(tmp_path):
    dataset, raw = _make_dataset(tmp_path, {"NORMAL": 8, "PNEUMONIA": 24})
    path = write_report(dataset, raw)
    assert_valid(path)
    assert path == dataset / "report.html"
    html = path.read_text(encoding="utf-8")
    text = _text(html)
    assert "33 records + 2 duplicates + 3 rejected = 38 inputs" in text
    assert "train 8 24 32 32" in text
    assert "val 0 0 0 0" in text
    assert "train 2.0000 0.6667" in text
    assert "val no images no images" in text
    assert "undecodable 2" in text
    assert "copy1.png kept.png" in text
    assert "twin.png kept.png 3" in text
    assert "numpy 9.9.9" in text
    assert "Width 0.75 NORMAL much" in text
    assert "Width, Aspect, Number of pixels, File size per pixel: each of these alone tells much" in text
    assert "Height 0.50 – nothing: all the same" in text
    assert "Brightness 0.50 – nothing beyond chance" in text
    assert "40 NORMAL and 40 PNEUMONIA patients" in text
    assert 'aria-label="Histogram by class of width (width, px): most NORMAL images around' in html
    assert Manifest.read(dataset).fingerprint in text
    assert html.count("before equalization") == 2 * 4  # two of each class: the image and its histogram
    assert len(re.findall(r'alt="NORMAL chest X-ray [^"]*"', html)) == 6 + 2 * 2


def test_page_stands_alone_escapes_names_and_describes_images(tmp_path):
    dataset, raw = _make_dataset(tmp_path, {"NORMAL": 3, "PNEUMONIA": 3})
    html = write_report(dataset, raw).read_text(encoding="utf-8")
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href|action)="([^"]*)"', html))
    assert not re.search(r"url\((?!#)|@import|https?://", html)
    assert "&lt;script&gt;alert" in html
    assert "<script>alert" not in html
    assert "cut &lt;b&gt;" in html
    tags = re.findall(r"<img[^>]*>", html)
    assert tags
    assert all(re.search(r'alt="[^"]+"', tag) for tag in tags)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_same_dataset_gives_the_same_bytes(tmp_path):
    dataset, raw = _make_dataset(tmp_path, {"NORMAL": 3, "PNEUMONIA": 3})
    first = write_report(dataset, raw).read_bytes()
    assert write_report(dataset, raw).read_bytes() == first
    assert sorted(path.name for path in dataset.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("given", [True, False])
def test_without_raw_images_the_page_says_so(tmp_path, given):
    dataset, _ = _make_dataset(tmp_path, {"NORMAL": 1, "PNEUMONIA": 2})
    text = _text(write_report(dataset, tmp_path / "gone" if given else None).read_text(encoding="utf-8"))
    assert ("no longer in the input folder" in text) == given
    assert ("raw images were not given" in text) != given


def test_an_image_that_changed_since_is_not_shown_as_before(tmp_path):
    dataset, raw = _make_dataset(tmp_path, {"NORMAL": 1, "PNEUMONIA": 1})
    for path in raw.rglob("*.png"):
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(path)
    assert "no longer in the input folder" in _text(write_report(dataset, raw).read_text(encoding="utf-8"))


def test_missing_lists_a_missing_class_and_missing_shards_are_told(tmp_path):
    dataset, _ = _make_dataset(tmp_path, {"NORMAL": 0, "PNEUMONIA": 2})
    (dataset / "rejected.jsonl").unlink()
    near = {"filename": "twin.png", "near_duplicate_of": "kept.png", "distance": 3}
    (dataset / "near_duplicates.jsonl").write_text(json.dumps(near) + "\n")
    (dataset / "duplicates.jsonl").write_text("not json\n")
    (dataset / "audit.json").unlink()
    text = _text(write_report(dataset).read_text(encoding="utf-8"))
    assert "No training image of this class." in text
    assert text.count("audit.json is not in the dataset") == 2
    assert "rejected.jsonl , is not in the dataset" in text
    assert "duplicates.jsonl , is not in the dataset or cannot be read" in text
    (dataset / "near_duplicates.jsonl").write_text("[]\n")
    text = _text(write_report(dataset).read_text(encoding="utf-8"))
    assert "near_duplicates.jsonl , is not in the dataset or cannot be read" in text

    shard = dataset / "size-32/train-00000-of-00001.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "record 1: cut short" in _text(write_report(dataset).read_text(encoding="utf-8"))
    shard.unlink()
    text = _text(write_report(dataset).read_text(encoding="utf-8"))
    assert "No such file or directory: &#39;size-32/train-00000-of-00001.tfrecord&#39;" in text


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected a dataset"):
        write_report(tmp_path)


def test_figures_take_the_colours_of_the_page_and_escape_their_label():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1], color=NORMAL)
    svg = str(figure_svg(figure, 'a "<b>" line'))
    assert "var(--normal)" in svg
    assert "currentColor" in svg
    assert "#010" not in svg
    assert 'aria-label="a &#34;&lt;b&gt;&#34; line"' in svg


def test_image_uri_shrinks_and_keeps_the_aspect():
    small, large = (image_uri(np.zeros((400, 200), np.uint8), max_px=size) for size in (100, None))
    sizes = [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size for uri in (small, large)]
    assert sizes == [(50, 100), (200, 400)]
