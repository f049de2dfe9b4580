"""Radiographs of full size for the benchmarks: phantoms of 1400 x 1100 px, each another, saved as grey JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from beam_prep.phantom import phantom
from beam_prep.schema import CLASS_NAMES

WIDTH, HEIGHT = 1400, 1100
# Gives about 260 KB; the Kaggle set has 0.16 bytes a pixel, which would be 246 KB.
QUALITY = 90
NUM_PHANTOMS = 16


def write_radiographs(folder: Path, num_images: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Path]:
    """Writes radiographs into class folders, as `prepare` reads them.

    Args:
        folder: absent or empty.
        num_images: how many; from a few phantoms, each one turned, shifted and noisy in its own way.
        size: width and height, px.
    """
    rng = np.random.default_rng(0)
    side = max(size)
    bases = [
        Image.fromarray(phantom(pneumonia=index % 2 == 1, image_px=side, rng=rng)[0]).resize(size)
        for index in range(NUM_PHANTOMS)
    ]
    grain = rng.normal(0, 3, (size[1] * 2, size[0] * 2)).astype(np.float32)
    paths = []
    for number in range(num_images):
        which = number % NUM_PHANTOMS
        turned = bases[which].rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR)
        top, left = rng.integers(0, (size[1], size[0]))
        pixels = np.asarray(turned, np.float32) + grain[top : top + size[1], left : left + size[0]]
        path = folder / CLASS_NAMES[which % 2] / f"{number:06d}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
        paths.append(path)
    return paths
