"""The whole job on the local runner: its CPU time against bare decoding, its growth with the images, two processes.

Run as `python benchmarks/prepare_job.py`; it takes some minutes and 1.2 GB of temporary disk. Each job is a process of
its own, `python -m beam_prep prepare`, whose CPU seconds, wall time and peak memory (of itself and its workers) are
those that the kernel reports.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from radiographs import write_radiographs

NUM_LARGE = 2000
NUM_SMALL = (1000, 2000, 4000, 8000)
SMALL = (350, 275)
ROUNDS = 3
ONE = ("--direct_running_mode=in_memory",)
TWO = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


class Cost(NamedTuple):
    """Of one process and its children: seconds and MiB."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def job(images: Path, options: tuple[str, ...] = ONE) -> Cost:
    """Prepares a folder at 90 and 224 px in a process of its own."""
    output = images.parent / "dataset"
    command = [sys.executable, "-m", "beam_prep", "prepare", "--input", str(images), "--output", str(output), *options]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, resident_mib(process.pid))
        time.sleep(0.05)
    wall = time.monotonic() - started
    if process.returncode:
        raise SystemExit(process.stderr.read().decode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(output)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, peak)


def resident_mib(pid: int) -> float:
    """Resident memory of a process as it is now."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has just ended
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def decode_all(folder: Path) -> float:
    """CPU seconds of decoding each image once, bare, in this process."""
    started = time.process_time()
    for path in folder.rglob("*.jpeg"):
        with Image.open(path) as image:
            image.load()
    return time.process_time() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        large = Path(temporary, "large")
        write_radiographs(large, NUM_LARGE)
        decode_s = [decode_all(large)]
        ones, twos = [], []
        for _ in range(ROUNDS):
            ones.append(job(large))
            twos.append(job(large, TWO))
            decode_s.append(decode_all(large))
        one, decode = statistics.median(cost.cpu_s for cost in ones), statistics.median(decode_s)
        print(f"{NUM_LARGE} images of 1400 x 1100 px: job {one:.1f} s CPU, bare decoding {decode:.1f} s")
        print(f"job / decode: {one / decode:.2f} (wanted: at most 3)")
        faster = statistics.median(one.wall_s / two.wall_s for one, two in zip(ones, twos, strict=True))
        print(f"wall time: {statistics.median(cost.wall_s for cost in ones):.1f} s in one process")
        print(f"one process / two: {faster:.2f} (wanted: at least 1.6)")
        shutil.rmtree(large)
        _growth(Path(temporary))


def _growth(temporary: Path) -> None:
    """Time and memory from the fewest images to the most; images are small so that what Beam keeps of each shows."""
    costs = {}
    everything = temporary / "all"
    write_radiographs(everything, NUM_SMALL[-1], SMALL)
    paths = sorted(everything.rglob("*.jpeg"), key=lambda path: path.name)
    for number in NUM_SMALL:
        folder = temporary / "some"
        for path in paths[:number]:
            target = folder / path.relative_to(everything)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
        costs[number] = job(folder)
        shutil.rmtree(folder)
        cost = costs[number]
        print(f"{number} small images: {cost.cpu_s:.1f} s CPU, {cost.peak_mib:.0f} MiB at most")
    first, *_, last = (costs[number] for number in NUM_SMALL)
    per_image = [(costs[more].cpu_s - costs[fewer].cpu_s) / (more - fewer) for fewer, more in pairwise(NUM_SMALL)]
    print("each further image: " + ", ".join(f"{1000 * seconds:.2f} ms" for seconds in per_image))
    print(f"peak memory, {NUM_SMALL[-1]} images / {NUM_SMALL[0]}: {last.peak_mib / first.peak_mib:.2f} (wanted: 1.1)")


if __name__ == "__main__":
    main()
