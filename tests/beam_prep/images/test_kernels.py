"""The loops in C give the numbers of Pillow, and the preparation gives the same bytes without a compiler."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from beam_prep.images import kernels
from beam_prep.images.decode import decode
from beam_prep.images.equalize import _cumulative, equalize
from beam_prep.images.pyramid import Pyramid

SIZES = [(1, 1), (2, 1), (1, 2), (1, 9), (8, 1), (2, 2), (3, 3), (7, 10), (10, 7), (64, 48), (255, 257)]


@pytest.fixture(params=["C", "Pillow"])
def way(request, monkeypatch):
    """Runs a test with the loops in C, where they could be compiled, and with Pillow."""
    if request.param == "Pillow":
        monkeypatch.setattr(kernels, "_kernels", None)
    elif kernels._kernels is None:
        pytest.skip("beam_prep.images._kernels is not compiled: there was no C compiler")


def drawn(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Draws an image of random values: radiographs, whose neighbours are alike, use few pairs of values."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_histogram_is_that_of_pillow(size):
    for image in (drawn(size), Image.new("L", size, 255)):
        counts = kernels.histogram(image.tobytes())
        assert counts.dtype == np.int64
        assert counts.tolist() == image.histogram()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_halving_is_that_of_pillow_at_odd_edges_too(size):
    rng = np.random.default_rng(1)
    tables = (bytes(range(256)), bytes(reversed(range(256))), bytes([255] * 256), rng.bytes(256))
    for seed, table in enumerate(tables):
        image = drawn(size, seed)
        halved, expected = kernels.halve(image.tobytes(), size, table), image.point(table).reduce(2)
        assert halved.size == expected.size
        assert halved.tobytes() == expected.tobytes()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_pyramid_is_that_of_the_equalized_image(mode):
    values = np.random.default_rng(2).normal(90, 25, (403, 501)).clip(0, 255)
    image = Image.fromarray(values.astype(np.uint8) if mode == "L" else (values * 200).astype(np.uint16))
    equalized = equalize(image, "hist")
    for pixels in (None, image.tobytes()):
        of_image, of_equalized = Pyramid(image, "hist", pixels), Pyramid(equalized)
        assert of_image.perceptual_hash() == of_equalized.perceptual_hash()
        for size in (32, 90, 400):
            assert of_image.resize(size).tobytes() == of_equalized.resize(size).tobytes()
            assert Pyramid(image, "hist").resize(size).tobytes() == of_equalized.resize(size).tobytes()


@pytest.mark.usefixtures("way")
def test_a_file_gives_the_same_bytes_with_and_without_a_compiler():
    image = decode(encoded(drawn((400, 302)), "JPEG", quality=90))
    expected = image.point(_cumulative(np.array(image.histogram())).tolist())
    assert equalize(image, "hist").tobytes() == expected.tobytes()
    rows = expected.reduce(2).resize((200, 48), Image.Resampling.BILINEAR)
    halved = rows.resize((48, 48), Image.Resampling.BILINEAR)
    assert Pyramid(image, "hist").resize(48).tobytes() == halved.tobytes()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("size", "wanted", "covered"),
    [
        ((255, 257), (48, 48), (254.5, 256.5)),
        ((255, 257), (48, 48), (255, 257)),
        ((70, 1), (16, 1), (69.5, 1)),
        ((33, 500), (33, 7), (33, 499.125)),
        ((700, 550), (224, 224), (700, 550)),
        ((351, 276), (90, 90), (350.25, 275.25)),
        ((64, 48), (64, 48), (64, 48)),
    ],
    ids=str,
)
def test_shrinking_is_that_of_pillow_in_two_steps_and_near_to_that_in_one(size, wanted, covered):
    for image in (drawn(size), Image.new("L", size, 255), Image.new("L", size)):
        shrunk = kernels.shrink(image, wanted, covered)
        rows = image.resize((size[0], wanted[1]), Image.Resampling.BILINEAR, box=(0, 0, size[0], covered[1]))
        expected = rows.resize(wanted, Image.Resampling.BILINEAR, box=(0, 0, covered[0], wanted[1]))
        # Where only a part of the last pixel is covered, the last row or column is not Pillow's.
        whole = tuple(slice(None if side == int(side) else -1) for side in reversed(covered))
        assert shrunk.size == wanted
        assert np.array_equal(np.asarray(shrunk)[whole], np.asarray(expected)[whole])
        at_once = image.resize(wanted, Image.Resampling.BILINEAR, box=(0, 0, *covered))
        assert np.abs(np.asarray(shrunk, int) - np.asarray(at_once, int))[whole].max(initial=0) <= 1


@pytest.mark.usefixtures("way")
def test_a_pixel_of_which_a_part_is_covered_has_the_weight_and_the_place_of_that_part():
    fine = np.random.default_rng(0).integers(0, 256, (403, 402)).astype(np.uint8)
    padded = np.pad(fine, ((0, 1), (0, 2)), mode="edge").reshape(101, 4, 101, 4).mean(axis=(1, 3))
    padded[-1, :-1] = fine[400:, :400].reshape(3, 100, 4).mean(axis=(0, 2))
    padded[:-1, -1] = fine[:400, 400:].reshape(100, 4, 2).mean(axis=(1, 2))
    padded[-1, -1] = fine[400:, 400:].mean()
    level = Image.fromarray(padded.round().astype(np.uint8))
    shrunk = np.asarray(kernels.shrink(level, (20, 20), (402 / 4, 403 / 4)), int)
    direct = np.asarray(Image.fromarray(fine).resize((20, 20), Image.Resampling.BILINEAR), int)
    assert np.abs(shrunk - direct).max() <= 4  # 12 in the last row and column if it counted as whole


@pytest.mark.parametrize(
    "arguments",
    [
        (b"123456", 2, 2, bytes(256)),
        (b"123", 2, 2, bytes(256)),
        (b"1234", 2, 2, bytes(255)),
        (b"", 0, 0, bytes(256)),
        (b"1234", -2, -2, bytes(256)),
        (b"1234", 2**62, 4, bytes(256)),
    ],
    ids=["more", "fewer", "short table", "nothing", "negative", "overflow"],
)
def test_sizes_that_the_pixels_do_not_have_are_refused(arguments):
    compiled = pytest.importorskip("beam_prep.images._kernels", reason="there was no C compiler")
    with pytest.raises(ValueError, match="expected width"):
        compiled.halve(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (b"123456", 2, 2, 2.0, 1),
        (b"1234", 2, 2, 2.5, 1),
        (b"1234", 2, 2, 1.0, 2),
        (b"1234", 2, 2, float("nan"), 1),
        (b"1234", 2, 2, 2.0, 0),
        (b"1234", -2, -2, 1.0, 1),
        (b"1234", 2**62, 4, 2.0, 1),
    ],
    ids=["more", "more rows", "to more rows", "not a number", "to nothing", "negative", "overflow"],
)
def test_rows_that_the_pixels_do_not_have_are_refused(arguments):
    compiled = pytest.importorskip("beam_prep.images._kernels", reason="there was no C compiler")
    with pytest.raises(ValueError, match="expected width"):
        compiled.shrink_height(*arguments)
