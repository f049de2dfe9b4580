"""Measures the local job: CPU time against bare decoding, growth with the number of images, two processes.

Run as `python benchmarks/prepare_job.py`; it takes half an hour and 5 GB of temporary disk. Each job is a process of
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

NUM_LARGE = 10_000  # one process is at it for some minutes, which the seconds of the start do not outweigh
NUM_SMALL = (1000, 4000, 8000)
SMALL = (350, 275)
ROUNDS = 3
ONE = ("--runner=FnApiRunner",)
THREADS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


class Cost(NamedTuple):
    """The cost of a process: seconds with its workers, and MiB of the one that needs most."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def job(images: Path, options: tuple[str, ...] = ONE) -> Cost:
    """Prepares a folder at 90 and 224 px in a process of its own."""
    output = images.parent / "dataset"
    cost = run_measured([*job_command(images, output), *options])
    shutil.rmtree(output)
    return cost


def job_command(images: Path, output: Path) -> list[str]:
    """Returns the command that prepares a folder of images at 90 and 224 px."""
    return [sys.executable, "-m", "beam_prep", "prepare", "--input", str(images), "--output", str(output)]


def run_measured(command: list[str]) -> Cost:
    """Runs a command to its end and returns its cost; ends this process if it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, largest_mib(process.pid))
            time.sleep(0.2)
        wall = time.monotonic() - started
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, peak)


def largest_mib(pid: int) -> float:
    """Returns the resident memory of a process or of one of its workers, whichever has most now, in MiB."""
    listed = subprocess.run(["ps", "-o", "rss=", "--pid", str(pid), "--ppid", str(pid)], capture_output=True, text=True)
    return max((int(kib) / 1024 for kib in listed.stdout.split()), default=0.0)


def decode_all(folder: Path) -> float:
    """Returns the CPU seconds that decoding each image once takes in this process."""
    started = time.process_time()
    for path in folder.rglob("*.jpeg"):
        with Image.open(path) as image:
            image.load()
    return time.process_time() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        large = Path(temporary, "large")
        write_radiographs(large, NUM_LARGE)
        ways = {"one process": ONE, "two threads": THREADS, "two processes": PROCESSES}
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        decode_s = []
        for _ in range(ROUNDS):
            decode_s.append(decode_all(large))
            for name, options in ways.items():
                costs[name].append(job(large, options))
        decode = statistics.median(decode_s)
        print(f"{NUM_LARGE} images of 1400 x 1100 px, bare decoding {decode:.1f} s")
        for name, each in costs.items():
            cpu, wall, peak = (statistics.median(values) for values in zip(*each, strict=True))
            print(
                f"{name:14} {cpu:6.1f} s CPU {wall:6.1f} s {peak:5.0f} MiB: {cpu / decode:.2f} of decoding (wanted: 3)"
            )
        for name in ("two threads", "two processes"):
            gains = [one.wall_s / two.wall_s for one, two in zip(costs["one process"], costs[name], strict=True)]
            print(f"one process / {name}: {statistics.median(gains):.2f} (wanted: 1.6)")
        shutil.rmtree(large)
        _growth(Path(temporary))


def _growth(temporary: Path) -> None:
    """Prints time and memory from the fewest images to the most; small images show what Beam keeps of each."""
    everything = temporary / "all"
    write_radiographs(everything, NUM_SMALL[-1], SMALL)
    paths = sorted(everything.rglob("*.jpeg"), key=lambda path: path.name)
    for number in NUM_SMALL:
        for path in paths[:number]:
            target = temporary / str(number) / "images" / path.relative_to(everything)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    rounds = [{number: job(temporary / str(number) / "images") for number in NUM_SMALL} for _ in range(ROUNDS)]
    cpu, peak = (
        {number: statistics.median(getattr(costs[number], what) for costs in rounds) for number in NUM_SMALL}
        for what in ("cpu_s", "peak_mib")
    )
    for number in NUM_SMALL:
        print(f"{number} small images: {cpu[number]:.1f} s CPU, {peak[number]:.0f} MiB at most")
    per_image = [(cpu[more] - cpu[fewer]) / (more - fewer) for fewer, more in pairwise(NUM_SMALL)]
    print("each further image: " + ", ".join(f"{1000 * seconds:.2f} ms" for seconds in per_image))
    growth = peak[NUM_SMALL[-1]] / peak[NUM_SMALL[0]]
    print(f"peak memory, {NUM_SMALL[-1]} images / {NUM_SMALL[0]}: {growth:.2f} (wanted: 1.1)")


if __name__ == "__main__":
    main()
