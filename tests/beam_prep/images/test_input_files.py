"""Images are found by content, and all other files are counted."""

import os
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from image_files import encoded

from beam_prep.dataset.image_limits import ImageError
from beam_prep.dataset.input_counts import add_up, say_left_out
from beam_prep.images.decode import decode
from beam_prep.images.input_files import find_images, read_image_file
from beam_prep.storage.paths import AnyPath, to_path


def pixels() -> np.ndarray:
    return np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8) * 2


def contents() -> dict[str, bytes]:
    """Returns an image file of every format that is recognized by its content."""
    kinds = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")
    return {
        "dicom": dicom_files.file(pixels()),
        "dicom without preamble": dicom_files.file(pixels())[132:],
        **{kind: encoded(pixels(), kind) for kind in kinds},
        "code stream": encoded(pixels(), "JPEG2000", no_jp2=True),
        "big TIFF": encoded(pixels(), "TIFF", big_tiff=True),
    }


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def left_out(root: AnyPath) -> dict[str, dict[str, int]]:
    return add_up(find_images(root).left_out)


@pytest.mark.parametrize("name", ["I0000001", "1.2.840.113619.2.5.1762", "a.IMA", "a.dat", "a.txt", "a.Mustermann"])
@pytest.mark.parametrize("kind", contents())
def test_an_image_is_found_by_its_content_whatever_its_name_and_can_be_decoded(tmp_path, kind, name):
    write(tmp_path, {name: contents()[kind]})
    assert find_images(tmp_path) == ([name], [])
    assert decode(read_image_file(tmp_path / name)[1]).size == (48, 40)


def test_a_bucket_gives_the_same(tmp_path, bucket):
    files = {f"scans/{kind}": data for kind, data in contents().items()}
    files |= {"scans/notes": b"text", "empty": b"", "a.txt": b"B", "x/.DS_Store": b"x", "masks/a.png": b"x"}
    write(tmp_path, files)
    for name, data in files.items():
        bucket.write(f"raw/{name}", data)
    here, there = find_images(tmp_path), find_images(to_path(f"{bucket.url}/raw"))
    assert sorted(here.images) == sorted(there.images)
    assert here.left_out == there.left_out
    assert add_up(here.left_out)["no_image"] == {"without suffix": 2, ".txt": 1}


def test_objects_whose_names_are_no_paths_are_counted(bucket):
    for name in ("raw//a.png", "raw/b//c.png", "raw/folder/", "raw/d.png"):
        bucket.write(name, b"x")
    images, counts = find_images(to_path(f"{bucket.url}/raw"))
    assert images == ["d.png"]
    assert list(say_left_out(add_up(counts))) == ["2 objects have names that can't be paths"]


def test_the_content_of_a_file_with_the_suffix_of_an_image_is_not_read(tmp_path):
    names = [f"a{suffix}" for suffix in (".jpeg", ".JFIF", ".jpe", ".jp2", ".webp", ".gif", ".DCM", ".tif")]
    write(tmp_path, dict.fromkeys(names, b"broken"))  # so that it is rejected with a reason
    assert sorted(find_images(tmp_path).images) == sorted(names)


@pytest.mark.parametrize(
    "text", [b"", b"BMI,age\n31,54\n", b"II. Methods", b"RIFF of a song", b"\xff\xd8", b"\x08\0", bytes(2000)]
)
def test_what_only_looks_like_an_image_is_none(tmp_path, text):
    assert find_images(write(tmp_path, {"notes": text})).images == []


def test_files_that_are_no_images_are_counted_by_suffix(tmp_path):
    write(tmp_path, {"a.txt": b"a", "b/c.TXT": b"a", "d.csv": b"a", "README": b"a", "report.Mustermann": b"a"})
    (said,) = say_left_out(left_out(tmp_path))
    assert said == "5 files are no images: .txt 2, .csv 1, other suffixes 1, without suffix 1"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("COVID/masks/a.png", "masks"),
        ("Infection Masks/a.png", "masks"),
        ("ManualMask/leftMask/a.png", "mask"),
        ("Segmentations/a.png", "segmentations"),
        ("annotations/labels.csv", "annotations"),
        ("QaTa/Ground-truths/a.png", "ground-truths"),
        ("images/CHNCXR_0001_0_mask.png", "mask"),
        ("images/a-seg.png", "seg"),
    ],
)
def test_masks_and_annotations_beside_images_are_left_out(tmp_path, name, word):
    write(tmp_path, {name: b"x", "images/a.png": b"x"})
    assert find_images(tmp_path).images == ["images/a.png"]
    assert left_out(tmp_path) == {"masks": {word: 1}}


def test_names_that_only_begin_like_masks_are_images(tmp_path):
    names = ["maskell/a.png", "annotations of Dr X/b.png", "images/mask_worn.png", "images/seg.png"]
    assert sorted(find_images(write(tmp_path, dict.fromkeys(names, b"x"))).images) == sorted(names)


def test_every_reason_is_said_with_its_number(tmp_path):
    write(tmp_path, {"images/a.png": b"x", "masks/a.png": b"x", ".DS_Store": b"x", "a.json": b"x"})
    (tmp_path / "link").symlink_to("images")
    assert list(say_left_out(left_out(tmp_path))) == [
        "1 file is no image: .json 1",
        "1 file is a mask or annotation, no X-ray: masks 1",
        "1 file or folder is hidden",
        "1 link leads to a folder that is listed already",
    ]


def test_a_pipe_or_device_is_an_image_that_is_rejected_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    assert sorted(find_images(tmp_path).images) == ["device.png", "pipe"]
    for name in ("pipe", "device.png"):
        with pytest.raises(ImageError, match="unreadable: OSError: no regular file"):
            read_image_file(tmp_path / name)


def test_a_file_that_cannot_be_read_is_an_image_that_is_rejected(unprivileged):
    write(unprivileged, {"I0000001": b"x"})
    (unprivileged / "I0000001").chmod(0)
    assert find_images(unprivileged).images == ["I0000001"]
    with pytest.raises(ImageError, match="unreadable: PermissionError"):
        read_image_file(unprivileged / "I0000001")
