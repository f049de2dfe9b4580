"""Runs the rivals of a benchmark in turn, prints median ratios, and makes images of phantoms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.manifest import Manifest, Shard, Split
from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.dataset.sharding import shard_name, size_folder
from beam_prep.dataset.tfrecord import frame, write_shard
from beam_prep.sources.phantom import phantom
from trainer.data.splits import SplitSource

NUM_SHARDS = 8
NUM_PHANTOMS = 128  # more images than these are copies of them

Rates = dict[str, list[tuple[float, float]]]
"""The rates of the rivals: name → (images a second, images a CPU second of this process) for each round."""


def run_in_turn(rivals: Mapping[str, Callable[[], int]], *, rounds: int) -> Rates:
    """Runs all rivals in turn `rounds` times, after a turn that does not count.

    Args:
        rivals: name → what to run; it returns how many images it got through.
        rounds: how often.
    """
    rates: Rates = {name: [] for name in rivals}
    for number in range(rounds + 1):
        for name, run in rivals.items():
            seconds, cpu_seconds = time.perf_counter(), time.process_time()
            num_images = run()
            seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
            if number:
                rates[name].append((num_images / seconds, num_images / cpu_seconds))
    return rates


def report(title: str, rates: Rates, *ratios: tuple[str, str, float]) -> None:
    """Prints the median rates, and the median over the rounds of each ratio.

    Args:
        title: what was measured.
        rates: of `run_in_turn`.
        ratios: ours, its peer, and what the ratio of their images a second should be at least.
    """
    print(title)
    for name, rounds in rates.items():
        rate, per_cpu_second = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"  {name:<40}{rate:>10,.0f} images/s{per_cpu_second:>10,.0f} images/CPU s")
    for ours, peer, goal in ratios:
        pairs = list(zip(rates[ours], rates[peer], strict=True))
        ratio, by_cpu = (statistics.median(one[i] / other[i] for one, other in pairs) for i in (0, 1))
        print(f"  {ours} / {peer}: {ratio:.2f} (goal {goal}), by CPU time {by_cpu:.2f}", flush=True)


def phantom_images(num_images: int, image_px: int) -> np.ndarray:
    """Draws phantoms, uint8 [num_images, image_px, image_px]; every other one is PNEUMONIA."""
    drawn = [
        phantom(pneumonia=index % 2 == 1, image_px=image_px, rng=np.random.default_rng([0, index]))[0]
        for index in range(min(num_images, NUM_PHANTOMS))
    ]
    return np.stack([drawn[index % NUM_PHANTOMS] for index in range(num_images)])


def write_records(folder: str, images: np.ndarray) -> SplitSource:
    """Writes the images as `prepare` does, raw, in eight shards."""
    shards = _write_shards(folder, images, "train")
    return SplitSource(
        paths=tuple(str(Path(folder, shard.path)) for shard in shards),
        shard_records=tuple(shard.num_records for shard in shards),
        image_size=images.shape[1],
        encoding="raw",
    )


def write_dataset(folder: str, images: Mapping[str, np.ndarray]) -> str:
    """Writes a dataset as `prepare` does, raw, of the images of each split; returns the folder."""
    size = str(next(iter(images.values())).shape[1])
    Manifest(
        num_inputs=sum(map(len, images.values())),
        num_records=sum(map(len, images.values())),
        num_duplicates=0,
        num_rejected=0,
        num_near_duplicates=0,
        rejected_by_reason={},
        options={"encoding": "raw", "equalization": "none"},
        splits={
            split: Split.from_counts({name: len(array[label::2]) for label, name in enumerate(CLASS_NAMES)}, len(array))
            for split, array in images.items()
        },
        pixels={size: None},
        sizes={size: {split: _write_shards(folder, array, split) for split, array in images.items()}},
    ).write(folder)
    return folder


def _write_shards(folder: str, images: np.ndarray, split: str) -> list[Shard]:
    size = size_folder(images.shape[1])
    return [
        write_shard(folder, f"{size}/{shard_name(split, index, NUM_SHARDS)}", map(frame, _examples(images, index)))
        for index in range(NUM_SHARDS)
    ]


def _examples(images: np.ndarray, shard: int) -> list[bytes]:
    return [
        to_example(
            Record(
                encoded=images[index].tobytes(),
                encoding="raw",
                height=images.shape[1],
                width=images.shape[2],
                label=index % 2,
                filename=f"{CLASS_NAMES[index % 2]}/{index:06d}.jpeg",
                source_id=f"{index:064d}",
                group=f"{index:064d}",
            )
        )
        for index in range(shard, len(images), NUM_SHARDS)
    ]


def write_jpegs(folder: str, images: np.ndarray) -> str:
    """Writes the images as JPEG files in a folder for each class."""
    for name in CLASS_NAMES:
        Path(folder, name).mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(Path(folder, CLASS_NAMES[index % 2], f"{index:06d}.jpeg"), quality=90)
    return folder
