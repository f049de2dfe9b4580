"""JPEG files without their end-of-image marker: repaired if no pixel is missing, else rejected."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.decode import decode

OPTIONS = [
    {},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_blocks": 1},
    {"restart_marker_rows": 1},
    {"quality": 10},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_file_that_lacks_only_its_end_is_repaired(grey8, options, mode):
    data = encoded(Image.fromarray(grey8).convert(mode), "JPEG", **options)
    whole = decode(data)
    assert "repaired" not in whole.info
    for num_missing in (1, 2):
        repaired = decode(data[:-num_missing])
        assert repaired.info["repaired"]
        assert np.array_equal(np.asarray(repaired), np.asarray(whole))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_file_that_lacks_pixels_is_rejected_wherever_it_ends(grey8, options):
    data = encoded(grey8, "JPEG", **options)
    first = data.index(b"\xff\xda")
    for end in {*range(first + 2, len(data) - 8, 29), *range(len(data) - 8, len(data) - 2)}:
        with pytest.raises(ImageError):
            decode(data[:end])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_file_whose_rest_is_zeros_is_rejected(grey8, options):
    data = encoded(grey8, "JPEG", **options)
    for end in range(data.index(b"\xff\xda") + 20, len(data) - 40, 97):
        with pytest.raises(ImageError):
            decode(data[:end].ljust(len(data), b"\0"))


def test_a_progressive_file_that_lacks_a_whole_scan_is_rejected(grey8):
    data = encoded(grey8, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    table = data.rfind(b"\xff\xc4", 0, last)
    for end in (last, table):
        with pytest.raises(ImageError):
            decode(data[:end])


def test_bytes_behind_the_end_are_no_damage(grey8):
    data = encoded(grey8, "JPEG")
    assert "repaired" not in decode(data + bytes(100)).info
