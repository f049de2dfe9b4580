"""Measures CPU time and memory of the plan of a million images (splits, duplicates, shards) from paths alone.

Run as `python benchmarks/plan_scale.py [NUM_IMAGES …]`; each number is a process of its own. Paths are those of the
Kaggle set with more patients; all that decoding would give (hashes, sums, spans, stats) is drawn at random, with 1 in
100 images a copy of another and 1 in 100 nearly one.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

from beam_prep.dataset.image_stats import STEPS, ImageStats
from beam_prep.dataset.patient_groups import PUBLIC_SALT, rank
from beam_prep.planning.duplicates import HASH_BITS
from beam_prep.planning.outcomes import Prepared, Span
from beam_prep.planning.plan import make_plan
from beam_prep.planning.splits import Fractions
from beam_prep.sources.discover import describe

NUM_IMAGES = (125_000, 250_000, 500_000, 1_000_000)
IMAGE_SIZES = (90, 224)
IMAGES_A_PATIENT = 3
IMAGES_A_SPOOL_FILE = 5_000


def listed(num_images: int) -> Iterator[Prepared]:
    """Yields the outcomes of the first pass for images that are never drawn, one at a time."""
    rng = random.Random(0)
    pixels, look = "", 0
    for index in range(num_images):
        kind, label = ("bacteria", "PNEUMONIA") if index // IMAGES_A_PATIENT % 4 else ("virus", "NORMAL")
        source = describe(f"train/{label}/person{index // IMAGES_A_PATIENT}_{kind}_{index}.jpeg")
        if index % 100 != 1:  # 1 in 100 is a copy of the one before it
            pixels = f"1400x1100:{rng.getrandbits(256):064x}"
            # … and 1 in 100 looks nearly as the one before it does.
            look = look ^ 1 << rng.randrange(HASH_BITS) if index % 100 == 2 else _look(rng)
        spool, place = divmod(index, IMAGES_A_SPOOL_FILE)
        yield Prepared(
            filename=source.filename,
            label=source.label or 0,
            split=source.split,
            group=PUBLIC_SALT.hash(source.group),
            group_rank=rank(source.group),
            told_by=source.told_by,
            order=rank(source.filename),
            pixels=pixels,
            perceptual_hash=look,
            sums=tuple((rng.randrange(size * size * 255), rng.randrange(size * size * 255**2)) for size in IMAGE_SIZES),
            spans=tuple(Span(f"{spool:032x}.spool", place * 60_000 + size, size * size + 300) for size in IMAGE_SIZES),
            stats=ImageStats(
                width=rng.randrange(900, 2000),
                height=rng.randrange(700, 1800),
                jpeg_quality=90,
                brightness=rng.randrange(STEPS),
                border_brightness=rng.randrange(STEPS),
                file_bytes=rng.randrange(100_000, 400_000),
            ),
        )


def _look(rng: random.Random) -> int:
    """Draws a hash, each bit one with probability 9/64: 0.33 % of the pairs share a part, as in 1,500 real X-rays."""
    a, b, c, d, e, f = (rng.getrandbits(HASH_BITS) for _ in range(6))
    return a & b & (c | d & e & f)


def measure(num_images: int) -> None:
    """Plans in this process, prints what it took, and ends the process where the plan does not hold all images."""
    started = time.process_time()
    outcomes = list(listed(num_images))
    listed_s, held_mib = time.process_time() - started, peak_mib()
    started = time.process_time()
    plan = make_plan(
        outcomes,
        image_sizes=IMAGE_SIZES,
        fractions=Fractions(val=0.2),
        num_shards=0,
        max_rejected_fraction=0.05,
        options={},
    )
    plan_s = time.process_time() - started
    placed = sum(len(task.spans) for task in plan.tasks)
    counts = plan.counts
    if placed != counts["records"] * len(IMAGE_SIZES) or counts["records"] + counts["duplicates"] != num_images:
        sys.exit(f"{placed} records are placed, of {counts}")
    share = plan.splits["val"].num_records / counts["records"]
    print(
        f"{num_images:>9,} paths: metadata {listed_s:.0f} s CPU {held_mib:.0f} MiB, planned in {plan_s:.0f} s CPU, "
        f"peak {peak_mib():5.0f} MiB, {peak_mib() * 2**20 / num_images:,.0f} bytes an image; {len(plan.tasks)} shards, "
        f"val {share:.2%}, {counts['duplicates']:,} copies, {len(plan.near_duplicates):,} near duplicates",
        flush=True,
    )


def peak_mib() -> float:
    """Returns the peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    numbers = [int(number) for number in sys.argv[1:]] or NUM_IMAGES
    if len(numbers) == 1:
        measure(numbers[0])
        return
    for number in numbers:
        subprocess.run([sys.executable, __file__, str(number)], check=True)


if __name__ == "__main__":
    main()
