"""The sizes of one image: sharing the work gives the pixels that each size alone would have."""

from itertools import combinations

import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageOps
from skimage.transform import resize as study_resize

from beam_prep.images.decode import decode
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.planning.duplicates import MAX_DISTANCE, mirrored
from beam_prep.sources.phantom import phantom


def radiograph(seed: int, image_px: int = 256) -> Image.Image:
    pixels, _ = phantom(pneumonia=seed % 2 == 1, image_px=image_px, rng=np.random.default_rng(seed))
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def large() -> Image.Image:
    """An image whose width and height are odd on several levels."""
    return equalize(radiograph(1, 1025).resize((1399, 1101)), "hist")


def difference(one, other) -> float:
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).max()


@pytest.mark.parametrize("image_px", [16, 48, 90, 224, 512, 1500])
def test_a_size_is_what_resizing_in_one_go_gives(large, image_px):
    direct = large.resize((image_px, image_px), Image.Resampling.BILINEAR)
    assert difference(Pyramid(large).resize(image_px), direct) <= 5


def test_results_are_close_to_a_direct_resize_at_many_sizes_and_as_close_at_the_edges():
    rng = np.random.default_rng(0)
    pictures = [equalize(radiograph(seed, 512), "hist") for seed in range(4)]
    edges, inside = [], []
    for trial in range(40):
        image_px = (24, 32, 64, 90)[trial % 4]
        size = (int(rng.integers(4 * image_px, 900)), int(rng.integers(4 * image_px, 900)))
        picture = pictures[trial // 4 % 4].resize(size, Image.Resampling.BICUBIC)
        direct = picture.resize((image_px, image_px), Image.Resampling.BILINEAR)
        gap = np.abs(np.asarray(Pyramid(picture).resize(image_px), float) - np.asarray(direct, float))
        edges += [gap[0], gap[-1], gap[:, 0], gap[:, -1]]
        inside.append(gap[1:-1, 1:-1].max())
    assert max(inside) <= 8
    assert max(edge.max() for edge in edges) <= 8


def test_an_image_of_less_than_four_times_the_size_is_resized_in_one_go():
    image = radiograph(0, 224)
    direct = image.resize((90, 90), Image.Resampling.BILINEAR)
    assert Pyramid(image).resize(90).tobytes() == direct.tobytes()


@pytest.mark.parametrize("image_px", [64, 90, 224])
def test_a_size_is_close_to_that_of_the_study(large, image_px):
    """scikit-image smooths with a Gaussian where Pillow takes the mean of what a pixel covers."""
    theirs = study_resize(np.asarray(large) / 255, (image_px, image_px), anti_aliasing=True) * 255
    ours = np.asarray(Pyramid(large).resize(image_px), float)
    assert np.abs(ours - theirs).mean() < 1
    assert difference(ours, theirs) < 12


def test_a_size_does_not_depend_on_what_else_is_made(large):
    alone = [Pyramid(large).resize(size).tobytes() for size in (224, 90)]
    pyramid = Pyramid(large)
    pyramid.perceptual_hash()
    assert [pyramid.resize(size).tobytes() for size in (224, 90)] == alone
    assert pyramid.perceptual_hash() == Pyramid(large).perceptual_hash()


def test_a_flat_image_stays_flat():
    flat = Image.fromarray(np.full((701, 1103), 7, np.uint8))
    assert set(Pyramid(flat).resize(32).tobytes()) == {7}


def test_perceptual_hash_is_alike_for_near_duplicates_only():
    def hash_of(image: Image.Image) -> int:
        return Pyramid(image, "hist").perceptual_hash()

    pictures = [radiograph(seed) for seed in range(12)]
    hashes = [hash_of(picture) for picture in pictures]
    assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) > MAX_DISTANCE
    for picture, value in zip(pictures, hashes, strict=True):
        brighter = picture.point([v * 9 // 10 + 25 for v in range(256)])
        for near in (decode(encoded(picture, "JPEG", quality=90)), picture.resize((300, 300)), brighter):
            assert (hash_of(near) ^ value).bit_count() <= MAX_DISTANCE
    turned = [
        hash_of(ImageOps.mirror(picture)) ^ mirrored(value) for picture, value in zip(pictures, hashes, strict=True)
    ]
    # Where neighbouring cells are equally bright, as often in phantoms, mirrored images have other bits.
    assert sum(bits.bit_count() <= MAX_DISTANCE for bits in turned) >= 8
