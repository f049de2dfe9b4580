"""The phantoms are a folder like the Kaggle set, the same every time, without a shortcut to the class."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_prep.sources.phantom import phantom
from beam_prep.sources.synthetic import synthesize

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "phantom_shortcuts.py"
PATIENT = {
    "NORMAL": re.compile(r"((?:NORMAL2-)?IM-\d{4})-0001(?:-000[2-4])?\.jpeg"),
    "PNEUMONIA": re.compile(r"(person\d+_(?:bacteria|virus))_\d+\.jpeg"),
}


def read_all(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.*"))}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> tuple[Path, dict[str, dict[str, int]]]:
    root = tmp_path_factory.mktemp("phantoms")
    return root, synthesize(root, num_images=101, image_px=64, seed=3)


def patients_of(root: Path, split: str) -> Counter[str]:
    """Counts the images of each patient; fails on a name that the Kaggle set does not have."""
    found: Counter[str] = Counter()
    for path in (root / "chest_xray" / split).glob("*/*"):
        match = PATIENT[path.parent.name].fullmatch(path.name)
        assert match, f"{path.name} is not a {path.parent.name} name"
        found[match[1]] += 1
    return found


def test_counts_are_exact_and_match_the_folders(dataset):
    root, counts = dataset
    on_disk = {
        split: {name: len(list((root / "chest_xray" / split / name).iterdir())) for name in by_class}
        for split, by_class in counts.items()
    }
    assert on_disk == counts == {"train": {"NORMAL": 32, "PNEUMONIA": 49}, "test": {"NORMAL": 8, "PNEUMONIA": 12}}


def test_a_patient_has_one_to_four_images_all_in_one_split(dataset):
    root, _ = dataset
    train, test = patients_of(root, "train"), patients_of(root, "test")
    assert not set(train) & set(test)
    assert set((train | test).values()) == {1, 2, 3, 4}
    kinds = {re.sub(r"\d+", "N", patient.removeprefix("NORMAL2-")) for patient in train}
    assert kinds == {"IM-N", "personN_bacteria", "personN_virus"}
    assert any(patient.startswith("NORMAL2-") for patient in train)


def test_images_are_grey_jpegs_of_the_asked_size_and_all_differ(dataset):
    root, _ = dataset
    for path in (root / "chest_xray").glob("*/*/*"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (64, 64))
    files = read_all(root)
    assert len(set(files.values())) == len(files)


def test_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path):
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        synthesize(tmp_path / folder, num_images=12, image_px=64, seed=seed)
    first = read_all(tmp_path / "a")
    assert first == read_all(tmp_path / "b")
    assert not set(first.values()) & set(read_all(tmp_path / "c").values())
    synthesize(tmp_path / "a", num_images=12, image_px=64, seed=5)  # a second run into the same folder changes nothing
    assert first == read_all(tmp_path / "a")


def test_refuses_to_mix_with_images_of_another_run(tmp_path):
    synthesize(tmp_path, num_images=12, image_px=64, seed=0)
    before = read_all(tmp_path)
    with pytest.raises(FileExistsError, match="delete"):
        synthesize(tmp_path, num_images=40, image_px=64, seed=1)
    assert read_all(tmp_path) == before


@pytest.mark.parametrize("num_images", [8, 12])
@pytest.mark.parametrize("test_fraction", [0.01, 0.2, 0.99])
def test_every_class_is_in_train_and_test_however_few_the_images(tmp_path, num_images, test_fraction):
    counts = synthesize(tmp_path, num_images=num_images, image_px=64, test_fraction=test_fraction)
    numbers = [num for by_class in counts.values() for num in by_class.values()]
    assert sum(numbers) == num_images
    assert min(numbers) >= 1


@pytest.mark.parametrize(
    "bad", [{"num_images": 7}, {"image_px": 63}, {"seed": -1}, {"test_fraction": 0.0}, {"test_fraction": 1.0}]
)
def test_an_argument_outside_its_range_is_named_and_nothing_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        synthesize(tmp_path / "out", **bad)
    assert not (tmp_path / "out").exists()


def test_progress_sees_every_patient(tmp_path):
    seen = []

    def watch(patients):
        for patient in patients:
            seen.append(patient)
            yield patient

    synthesize(tmp_path, num_images=12, image_px=64, progress=watch)
    assert len(seen) == len(patients_of(tmp_path, "train")) + len(patients_of(tmp_path, "test"))


@pytest.mark.parametrize("image_px", [64, 97, 300])
def test_the_mask_covers_part_of_a_pneumonia_image_and_nothing_of_a_normal_one(image_px):
    for seed in range(10):
        image, mask = phantom(pneumonia=True, image_px=image_px, rng=np.random.default_rng(seed))
        assert image.shape == mask.shape == (image_px, image_px)
        assert (image.dtype, mask.dtype) == (np.uint8, np.bool_)
        assert 0.005 < mask.mean() < 0.35
        _, empty = phantom(pneumonia=False, image_px=image_px, rng=np.random.default_rng(seed))
        assert empty.shape == mask.shape
        assert not empty.any()


def test_phantom_refuses_a_size_too_small():
    with pytest.raises(ValueError, match="image_px is 32"):
        phantom(pneumonia=True, image_px=32, rng=np.random.default_rng(0))


@pytest.mark.slow
def test_no_single_number_of_an_image_tells_the_class():
    spec = importlib.util.spec_from_file_location("phantom_shortcuts", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    labels = [index % 2 == 1 for index in range(300)]
    images = [
        phantom(pneumonia=label, image_px=64, rng=np.random.default_rng([1, index]))[0]
        for index, label in enumerate(labels)
    ]
    aurocs = benchmark.shortcut_aurocs(images, labels)
    assert {name: pair for name, pair in aurocs.items() if max(pair) >= 0.7} == {}
