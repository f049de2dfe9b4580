"""Writes folders of synthetic chest X-rays for the demo and the tests, which need no image of a patient."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from beam_prep.console.background import usable_cores
from beam_prep.sources.phantom import check_image_px, expose, new_patient

MIN_IMAGES = 8
NORMAL_FRACTION = 0.4
JPEG_QUALITY = 90
MAX_IMAGES_PER_PATIENT = 4


def synthesize(
    output: Path,
    *,
    num_images: int = 400,
    image_px: int = 512,
    seed: int = 0,
    test_fraction: float = 0.2,
    progress: Callable[[Collection], Iterable] = iter,
) -> dict[str, dict[str, int]]:
    """Writes a folder of phantoms with the layout and the file names of the Kaggle chest X-ray set.

    Two images in five are NORMAL. A patient has one to four images, all in the same split. Equal arguments give
    byte-identical files.

    Args:
        output: the folder that gets `chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg`; made if missing.
        num_images: the number of images in all, 8 or more.
        image_px: side of the square images in pixels, 64 or more.
        seed: the seed of all random numbers, 0 or more.
        test_fraction: the share of the images in `test`, between 0 and 1; each split has at least two images.
        progress: a function that wraps one item for each patient to show progress.

    Returns:
        The number of images by split and class: {"train": {"NORMAL": n, "PNEUMONIA": m}, "test": {...}}.

    Raises:
        ValueError: an argument is outside its range.
        FileExistsError: `output` holds images that this call would not write, so that the two would mix.

    Source: the layout of https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia
    """
    check_image_px(image_px)
    if num_images < MIN_IMAGES:
        raise ValueError(f"num_images is {num_images}; both classes in train and test need at least {MIN_IMAGES}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; expected a number between 0 and 1")
    num_test = min(max(round(num_images * test_fraction), 2), num_images - 2)
    counts: dict[str, dict[str, int]] = {}
    for split, num in (("train", num_images - num_test), ("test", num_test)):
        num_normal = min(max(round(num * NORMAL_FRACTION), 1), num - 1)
        counts[split] = {"NORMAL": num_normal, "PNEUMONIA": num - num_normal}

    patients = _file_names(counts, np.random.default_rng(seed))
    root = Path(output) / "chest_xray"
    strangers = {path.relative_to(root).as_posix() for path in root.glob("*/*/*")}.difference(*patients.values())
    if strangers:
        raise FileExistsError(f"{root} holds {min(strangers)} from elsewhere; give an empty folder or delete {root}")
    for split, by_class in counts.items():
        for class_name in by_class:
            (root / split / class_name).mkdir(parents=True, exist_ok=True)

    def draw(number: int) -> None:
        rng = np.random.default_rng([seed, number])
        patient = new_patient("/PNEUMONIA/" in patients[number][0], "_virus_" in patients[number][0], rng)
        for name in patients[number]:
            image, _ = expose(patient, image_px, rng)
            Image.fromarray(image).save(root / name, format="JPEG", quality=JPEG_QUALITY)

    threads = ThreadPoolExecutor(usable_cores())
    try:
        for drawn in progress([threads.submit(draw, number) for number in patients]):
            drawn.result()
    finally:
        threads.shutdown(cancel_futures=True)
    return counts


def _file_names(counts: dict[str, dict[str, int]], rng: np.random.Generator) -> dict[int, list[str]]:
    """Divides the images among patients: patient number → paths below `chest_xray`."""
    patients: dict[int, list[str]] = {}
    image_number = 0
    for split, by_class in counts.items():
        for class_name, num in by_class.items():
            while num:
                number = len(patients) + 1
                num_views = min(int(rng.integers(1, MAX_IMAGES_PER_PATIENT + 1)), num)
                second_kind = rng.random() < 0.5
                patients[number] = []
                for view in range(num_views):
                    image_number += 1
                    if class_name == "PNEUMONIA":
                        name = f"person{number}_{'virus' if second_kind else 'bacteria'}_{image_number}"
                    else:
                        name = f"{'NORMAL2-' if second_kind else ''}IM-{number:04d}-0001"
                        name += f"-{view + 1:04d}" if view else ""
                    patients[number].append(f"{split}/{class_name}/{name}.jpeg")
                num -= num_views
    return patients
