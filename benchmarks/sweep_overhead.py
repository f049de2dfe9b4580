"""Measures the time that a search adds to each of its trials, over the same `trainer train` by hand.

Run as `python benchmarks/sweep_overhead.py`, on phantoms at 32 px. A search adds the time between the end of one
trainer process and the start of the next one, and what starting it through the search's launcher takes longer. Both are
told beside the time of the whole trial, in a search and by hand, which swings by more. Goal: less than 2 s a trial.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from beam_prep.config import PrepConfig
from beam_prep.console.signals import child_command
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.synthetic import synthesize

ROUNDS = 5
FLAGS = ("--image_size", "32", "--batch_size", "16", "--epochs", "2")
GOAL_SECONDS = 2.0


def timed(arguments: Sequence[str]) -> float:
    """Runs a Python process and returns its seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def run_search(data: Path, output: Path) -> list[tuple[dict, float]]:
    """Runs a grid of trials that differ in dropout alone; returns `trial.json` and seconds since the previous end."""
    rates = [f"{0.3 + index / 1000:.3f}" for index in range(ROUNDS + 1)]
    command = ["-m", "tuning", "search", "--data", str(data), "--output", str(output)]
    timed([*command, "--algorithm", "grid", *FLAGS, "--dropout", *rates])
    files = sorted(output.glob("trials/*/trial.json"))
    ends = [path.stat().st_mtime for path in files]
    gaps = [end - before for before, end in itertools.pairwise(ends)]
    return [(json.loads(path.read_text()), gap) for path, gap in zip(files[1:], gaps, strict=True)]


def run_plainly(output: Path, flags: dict) -> float:
    """Runs the same training by hand and returns its seconds."""
    path = output.with_suffix(".json")
    path.write_text(json.dumps({**flags, "output": str(output)}))
    return timed(["-m", "trainer", "train", "--config", str(path)])


def main() -> None:
    """Prints the seconds that a search adds to a trial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(folder / "phantoms", num_images=400, image_px=64, seed=0)
        prepare(PrepConfig(input=str(folder / "phantoms"), output=str(folder / "data"), image_sizes=(32,)))
        trials = run_search(folder / "data", folder / "sweep")
        plain = [run_plainly(folder / trial["trial_id"], trial["flags"]) for trial, _ in trials]
    launched = child_command("--help")[1:]
    launches = [timed(launched) - timed(["-m", "trainer", "--help"]) for _ in range(ROUNDS)]
    between = statistics.median(gap - trial["seconds"] for trial, gap in trials)
    launch = statistics.median(launches)
    whole, alone = statistics.median(gap for _, gap in trials), statistics.median(plain)
    print(f"a trial of 2 epochs at 32 px, {ROUNDS} rounds")
    print(f"  from end to end in a search {whole:6.2f} s, by hand {alone:6.2f} s: {whole / alone:.2f} times")
    print(f"  between two trainers {between:.2f} s, launcher {launch:.2f} s")
    print(f"  a search adds {between + launch:.2f} s a trial (goal: less than {GOAL_SECONDS:.0f} s)")


if __name__ == "__main__":
    main()
