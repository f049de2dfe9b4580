"""Measures time and memory of preparing 100,000 images on this machine, and verifies the dataset.

Run as `python benchmarks/prepare_many.py [NUMBER]`; it takes some 20 minutes and 8 GB of temporary disk. The images
are small blurs, as only their number matters: what is kept of each in memory does not depend on its size.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from prepare_job import job_command, run_measured

from beam_prep.dataset.schema import CLASS_NAMES

NUM_IMAGES = 100_000
SIZE = (350, 275)
COARSE = (16, 20)


def write_blurs(folder: Path, num_images: int) -> None:
    """Writes images of random spots, no two of them alike, into class folders."""
    rng = np.random.default_rng(0)
    for name in CLASS_NAMES:
        (folder / name).mkdir(parents=True)
    for number in range(num_images):
        spots = Image.fromarray(rng.integers(0, 256, COARSE, dtype=np.uint8))
        path = folder / CLASS_NAMES[number % len(CLASS_NAMES)] / f"{number:07d}.jpeg"
        spots.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=85)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_IMAGES
    with tempfile.TemporaryDirectory() as temporary:
        images, dataset = Path(temporary, "images"), Path(temporary, "dataset")
        write_blurs(images, number)
        cost = run_measured(job_command(images, dataset))
        print(f"{number} images: {cost.wall_s:.0f} s, {cost.cpu_s:.0f} s CPU, {cost.peak_mib:.0f} MiB at most")
        cost = run_measured([sys.executable, "-m", "beam_prep", "verify", str(dataset)])
        print(f"verified: {cost.wall_s:.0f} s, {cost.cpu_s:.0f} s CPU, {cost.peak_mib:.0f} MiB at most")


if __name__ == "__main__":
    main()
