"""Writes radiographs of full size for the benchmarks: phantoms of 1400 x 1100 px, no two alike, saved as grey JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.sources.phantom import phantom

WIDTH, HEIGHT = 1400, 1100
# Gives about 260 KB; the Kaggle set has 0.16 bytes a pixel, which would be 246 KB.
QUALITY = 90
# A phantom and its mirror images count as different pictures for the perceptual hash.
MIRRORS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def write_radiographs(folder: Path, num_images: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Path]:
    """Writes radiographs into class folders, as `prepare` reads them.

    Args:
        folder: absent or empty.
        num_images: how many, no two of them near duplicates: four of each phantom, mirrored and noisy.
        size: width and height, px.
    """
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 3, (size[1] * 2, size[0] * 2)).astype(np.float32)
    paths = []
    for number in range(num_images):
        label, mirror = number // len(MIRRORS) % 2, MIRRORS[number % len(MIRRORS)]
        if mirror is None:
            image = Image.fromarray(phantom(pneumonia=bool(label), image_px=max(size), rng=rng)[0]).resize(size)
        top, left = rng.integers(0, (size[1], size[0]))
        pixels = np.asarray(image.transpose(mirror) if mirror is not None else image, np.float32)
        noisy = pixels + grain[top : top + size[1], left : left + size[0]]
        path = folder / CLASS_NAMES[label] / f"{number:06d}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
        paths.append(path)
    return paths
