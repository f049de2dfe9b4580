"""Prints whether equal person numbers of the Kaggle set's train and test folders are the same people.

Run as `python benchmarks/person_numbers.py TRAIN TEST`, two folders. `person12_bacteria_46.jpeg` is of
person 12; the test folder has a `person12_virus_…`, too. Images of one patient look more alike than those of two: the
correlation of equalized thumbnails tells which the equal numbers are.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from itertools import combinations, product
from pathlib import Path

import numpy as np

from beam_prep.images.decode import decode
from beam_prep.images.input_files import find_images
from beam_prep.images.pyramid import Pyramid

PERSON = re.compile(r"person(\d+)_(bacteria|virus)_")
THUMBNAIL_PX = 32
NUM_RANDOM = 20_000

People = dict[tuple[str, str], list[np.ndarray]]


def read_people(folder: Path) -> People:
    """Reads person number and pathogen → the standardized thumbnails of the images, float32 [1024]."""
    people: People = defaultdict(list)
    for name in sorted(find_images(folder).images):
        if found := PERSON.search(name):
            image = decode((folder / name).read_bytes())
            pixels = np.asarray(Pyramid(image, "hist").resize(THUMBNAIL_PX), np.float32).ravel()
            people[found[1], found[2]].append((pixels - pixels.mean()) / (pixels.std() * len(pixels) ** 0.5))
    return people


def main() -> None:
    """Prints the counts and the mean correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train", "test"):
        parser.add_argument(name, metavar=name.upper(), type=Path)
    given = parser.parse_args()
    train, test = read_people(given.train), read_people(given.test)
    other = {"bacteria": "virus", "virus": "bacteria"}
    shared = [(number, kind) for number, kind in test if (number, other[kind]) in train]
    same = [(number, kind) for number, kind in test if (number, kind) in train]
    print(f"person numbers of test: {len(test)}; in train under the other pathogen {len(shared)}, the same {len(same)}")
    equal = [
        float(one @ two)
        for number, kind in shared
        for one, two in product(test[number, kind], train[number, other[kind]])
    ]
    within = [float(one @ two) for images in train.values() for one, two in combinations(images, 2)]
    rng = np.random.default_rng(0)
    all_test, all_train = (
        np.stack([image for images in people.values() for image in images]) for people in (test, train)
    )
    picked = rng.integers(0, [len(all_test), len(all_train)], (NUM_RANDOM, 2))
    random = (all_test[picked[:, 0]] * all_train[picked[:, 1]]).sum(axis=1)
    for name, values in (("equal numbers", equal), ("random pairs", random), ("within a patient", within)):
        print(
            f"correlation of {name:16} {np.mean(values):.3f} (standard error {np.std(values) / len(values) ** 0.5:.3f})"
        )


if __name__ == "__main__":
    main()
