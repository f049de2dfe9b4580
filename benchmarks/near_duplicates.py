"""Prints how many copies of real X-rays are recognized as near duplicates, by what was done to the copy.

Run as `python benchmarks/near_duplicates.py IMAGES`, a folder of X-rays; every 17th of them, sorted by name, is copied.
Then all images with different pixels are compared with each other: how near are pictures that are no copies, and how
many of these pairs does the search for near duplicates compare?
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from beam_prep.images.decode import decode
from beam_prep.images.input_files import find_images
from beam_prep.images.pyramid import Pyramid
from beam_prep.planning.duplicates import HASH_BITS, MAX_DISTANCE, mirrored

STEP = 17


def _saved(quality: int) -> Callable[[Image.Image], Image.Image]:
    def save(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return save


def _cropped(percent: float) -> Callable[[Image.Image], Image.Image]:
    """Cuts off so much of the width and of the height, half at each side, and keeps the size."""

    def crop(image: Image.Image) -> Image.Image:
        dx, dy = image.width * percent / 200, image.height * percent / 200
        return image.resize(image.size, Image.Resampling.BICUBIC, box=(dx, dy, image.width - dx, image.height - dy))

    return crop


def _bordered(percent: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageOps.expand(image, round(image.width * percent / 100), fill=0)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved at JPEG quality 90": _saved(90),
    "saved at JPEG quality 60": _saved(60),
    "resized to half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brightness x 0.8": lambda image: image.point(lambda value: value * 0.8),
    "cropped by 1 %": _cropped(1),
    "cropped by 2 %": _cropped(2),
    "cropped by 4 %": _cropped(4),
    "with a black border of 1 %": _bordered(1),
    "with a black border of 4 %": _bordered(4),
    "rotated by 1 degree": lambda image: image.rotate(1, Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "mirrored, saved at JPEG quality 75": lambda image: _saved(75)(ImageOps.mirror(image)),
    "mirrored, cropped by 1 %": lambda image: _cropped(1)(ImageOps.mirror(image)),
}


def _distances(hashes: np.ndarray) -> np.ndarray:
    """Returns the number of bits in which each pair of hashes differs, of bits [N, B]: [N, N]."""
    bits = hashes.astype(np.float32)
    return bits.sum(axis=1)[:, None] + bits.sum(axis=1) - 2 * bits @ bits.T


def _print_pairs(hashes: list[int]) -> None:
    """Prints how near pairs of hashes are, and the share of all pairs that meet in one or two parts of their bits."""
    bits = np.array([[value >> bit & 1 for bit in range(HASH_BITS)] for value in hashes], np.uint8)
    pairs = np.triu_indices(len(bits), 1)
    distances = _distances(bits)[pairs]
    counts = ", ".join(f"{int((distances <= most).sum()):,} within {most}" for most in (8, 11, 12, 16, 20, 24))
    print(f"{len(hashes):,} different images: the closest pair differs in {distances.min():.0f} bits; pairs {counts}")
    for num_parts, num_equal in ((MAX_DISTANCE + 1, 1), (MAX_DISTANCE + 2, 2)):
        parts = [bits[:, part::num_parts] for part in range(num_parts)]
        meet = sum((_distances(part) == 0).astype(np.uint8) for part in parts)[pairs] >= num_equal
        print(f"{meet.mean():.4%} of all pairs agree in {num_equal} of {num_parts} parts")


def main() -> None:
    """Prints a line for each kind of copy: the share that is found; then how alike different images are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", metavar="IMAGES", type=Path)
    root = parser.parse_args().images
    decoded = {}
    for place, name in enumerate(sorted(find_images(root).images)):
        image = decode((root / name).read_bytes())
        decoded.setdefault((image.size, image.tobytes()), (place, image))
    _print_pairs([Pyramid(image, "hist").perceptual_hash() for _, image in decoded.values()])
    images = [image for place, image in decoded.values() if place % STEP == 0]
    hashes = [Pyramid(image, "hist").perceptual_hash() for image in images]
    print(f"{len(images)} images, found at a distance of up to {MAX_DISTANCE} of 256 bits")
    for name, change in COPIES.items():
        copies = (Pyramid(change(image).convert("L"), "hist").perceptual_hash() for image in images)
        pairs = zip(hashes, copies, strict=True)
        distances = [min((one ^ each).bit_count() for each in (other, mirrored(other))) for one, other in pairs]
        found = sum(distance <= MAX_DISTANCE for distance in distances) / len(images)
        print(f"{name:36} {found:6.1%}  median distance {sorted(distances)[len(distances) // 2]}")


if __name__ == "__main__":
    main()
