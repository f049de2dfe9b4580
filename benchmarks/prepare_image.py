"""Compares the work on one image, 1400 x 1100 px to 90 and 224 px, with bare decoding and with the study's way.

Run as `python benchmarks/prepare_image.py`. The three take turns on the same files, which the page cache holds; the
numbers are medians of CPU milliseconds an image. Ours is all that a worker does: read, decode, digest, equalize, hash,
resize, records, spool.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from radiographs import write_radiographs
from skimage.exposure import equalize_hist
from skimage.transform import resize

from beam_prep.config import PrepConfig
from beam_prep.dataset.patient_groups import PUBLIC_SALT
from beam_prep.images.decode import decode
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.pipeline.transforms import PrepareImage
from beam_prep.pipeline.work_folder import open_work_folder
from beam_prep.sources.discover import find_sources

NUM_IMAGES = 48
ROUNDS = 7
SIZES = (90, 224)


def decode_only(path: Path) -> np.ndarray:
    """Decodes an image with bare Pillow, the work that can't be spared."""
    with Image.open(path) as image:
        image.load()
    return image


def study(path: Path) -> list[np.ndarray]:
    """Prepares an image as the notebook does: scikit-image at full size, float64 [S, S] in 0..1 for each size."""
    with Image.open(path) as image:
        equalized = equalize_hist(np.asarray(image))
    return [resize(equalized, (size, size), anti_aliasing=True) for size in SIZES]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "images")
        paths = write_radiographs(root, NUM_IMAGES)
        config = PrepConfig(input=str(root), output=str(Path(folder, "dataset")), image_sizes=SIZES)
        Path(config.output).mkdir()
        prepare_image = PrepareImage(config, open_work_folder(config.output, overwrite=False, job={}), PUBLIC_SALT)
        prepare_image.setup()
        sources = {str(root / source.filename): source for source in find_sources(root)[0]}

        def ours(path: Path) -> list:
            return list(prepare_image.process(sources[str(path)]))

        ways: dict[str, Callable[[Path], object]] = {"decode": decode_only, "ours": ours, "study": study}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for path in paths * ROUNDS:
            for name, way in ways.items():
                if name == "study" and len(taken[name]) >= NUM_IMAGES:
                    continue
                started = time.process_time()
                way(path)
                taken[name].append(1000 * (time.process_time() - started))
        print(f"{NUM_IMAGES} images of {np.mean([path.stat().st_size for path in paths]) / 1000:.0f} KB")
        median = {name: statistics.median(values) for name, values in taken.items()}
        for name, value in median.items():
            print(f"{name:8} {value:7.2f} ms an image")
        print(f"ours / decode: {median['ours'] / median['decode']:.2f} (wanted: at most 2)")
        print(f"study / ours:  {median['study'] / median['ours']:.1f} (wanted: at least 8)")
        _compare(paths[:8])


def _compare(paths: list[Path]) -> None:
    """Prints how far our pixels are from the study's."""
    for path in paths[:1]:
        decoded = decode(path.read_bytes())
        ours = np.asarray(equalize(decoded, "hist"), float)
        print(f"equalized: within {np.abs(ours - 255 * equalize_hist(np.asarray(decoded))).max():.2f}/255 of the study")
    for index, size in enumerate(SIZES):
        differences = []
        for path in paths:
            resized = Pyramid(decode(path.read_bytes()), "hist").resize(size)
            differences.append(np.abs(np.asarray(resized, float) - 255 * study(path)[index]))
        print(f"{size} px: {np.mean(differences):.2f}/255 from the study on average, {np.max(differences):.1f} at most")


if __name__ == "__main__":
    main()
