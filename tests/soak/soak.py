"""Prepares, trains and searches for a long time under kills, full disks, broken transfers and truncated files.

Run as `make test-soak`, or for less than an hour as `make test-soak SOAK_MINUTES=2`; SOAK_SEED chooses other moments.
Each round disturbs one command, and then gives the same command again in peace, which has to end as if nothing had
happened. A command that is not killed ends with 0, or with 1 or 2 and one line. The exit code is 1 if anything was lost
or left behind; the table at the end tells whether memory and files grew.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bucket import Bucket, served

SMALL = ("--image_size", 32, "--batch_size", 8)
TRAIN = (*SMALL, "--epochs", 3, "--checkpoint_every_steps", 2, "--learning_rate", 1e-4)
SEARCH = ("--image_size", 32, "--batch_size", 8, "--epochs", 1, "--max_trials", 2, "--learning_rate", 1e-4, 1e-3)
KILL, FULL_DISK, TRUNCATE, TRANSFER = "kill -9", "full disk", "truncated file", "broken transfer"


@dataclass
class Soak:
    """The state of a soak: its folders, what went wrong, and what each command took.

    Attributes:
        root: the folder of all files of the soak.
        chance: the source of all random choices.
        bucket: a bucket that breaks transfers on demand.
        faults: what was lost, left behind or said in a wrong way.
        peaks: command → the peak memory of each undisturbed run, MB.
        rounds: (command, fault) → number of rounds.
    """

    root: Path
    chance: random.Random
    bucket: Bucket
    faults: list[str] = field(default_factory=list)
    peaks: dict[str, list[float]] = field(default_factory=dict)
    rounds: dict[tuple[str, str], int] = field(default_factory=dict)

    def run(self, *words: object, kill_after_s: float | None = None, max_file_bytes: int | None = None) -> int:
        """Runs a command, which is killed after some time or may write only small files; returns its exit code."""
        command = [sys.executable, "-m", *map(str, words)]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes,) * 2)) if max_file_bytes else None
        process = subprocess.Popen(command, **{**QUIET, "stderr": subprocess.PIPE}, preexec_fn=limit)
        try:
            _, errors = process.communicate(timeout=600 if kill_after_s is None else kill_after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, errors = process.communicate()
        code, said = process.returncode, errors.decode(errors="replace")
        is_refusal = code in (1, 2) and words[1] not in ("verify", "search")
        if kill_after_s is None and code not in (0, 1, 2):
            self.faults.append(f"{' '.join(command[2:5])}: exit code {code}: {said[-300:]}")
        if "Traceback" in said or (is_refusal and not (said.splitlines() or [""])[-1].startswith("error: ")):
            self.faults.append(f"{' '.join(command[2:5])}: no one-line error: {said[-500:]}")
        return code

    def complete(self, name: str, *words: object) -> None:
        """Runs a command in peace, which has to end well and leave neither a process nor a temporary file."""
        before = set(os.listdir(tempfile.gettempdir()))
        with open(self.root / "stderr", "w+b") as errors:
            watched = subprocess.Popen([sys.executable, "-m", *map(str, words)], **{**QUIET, "stderr": errors})
            _, status, usage = os.wait4(watched.pid, 0)
        watched.returncode = os.waitstatus_to_exitcode(status)
        self.peaks.setdefault(name, []).append(usage.ru_maxrss / 1024)
        if watched.returncode:
            said = (self.root / "stderr").read_text(errors="replace")[-300:]
            self.faults.append(
                f"{' '.join(map(str, words[:2]))}: the same command ends with {watched.returncode}: {said}"
            )
        if left := set(os.listdir(tempfile.gettempdir())) - before:
            self.faults.append(f"{name}: left in the folder for temporary files: {sorted(left)}")
        if watched.pid in sessions():
            self.faults.append(f"{name}: left a process")

    def check(self, name: str, found: dict[str, bytes], expected: dict[str, bytes]) -> None:
        """Notes a fault where files are not those of an undisturbed command."""
        if different := sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)):
            self.faults.append(f"{name}: lost, left or other: {different[:5]}")


QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


def sessions() -> list[int]:
    """Returns the session of each process of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(int(file.read_text().rpartition(")")[2].split()[3]))
        except OSError:  # ended meanwhile
            continue
    return found


def files_of(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Returns the contents of files below a folder by name; pages and hidden files are left out."""
    paths = {path for pattern in patterns or ("**/*",) for path in folder.glob(pattern) if path.is_file()}
    kept = (path for path in paths if path.suffix != ".html" and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def truncate_one(soak: Soak, folder: Path, pattern: str) -> Path | None:
    """Cuts one file short, and returns it; None where there is none."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size > 1)
    if not paths:
        return None
    path = soak.chance.choice(paths)
    os.truncate(path, soak.chance.randrange(path.stat().st_size))
    return path


def prepare_round(soak: Soak, output: Path, expected: dict[str, bytes], seconds: float) -> str:
    """Disturbs a preparation."""
    fault = soak.chance.choice((KILL, FULL_DISK, TRUNCATE, TRANSFER))
    place: object = output
    if fault == TRANSFER:
        place = f"{soak.bucket.url}/{output.name}"
        soak.bucket.fail(r"(GET|POST|PUT) .*", kind=soak.chance.choice(("status", "lose", "cut")), times=6)
    words = ("beam_prep", "prepare", "--input", soak.root / "images", "--output", place, "--image_sizes", 32)
    if fault == KILL:
        soak.run(*words, kill_after_s=soak.chance.uniform(0.1, 1.1) * seconds)
    elif fault == FULL_DISK:
        soak.run(*words, max_file_bytes=soak.chance.randrange(1000, 60_000))
    elif fault == TRANSFER:
        soak.run(*words)
        soak.bucket.faults.clear()
    soak.complete("prepare", *words)
    if fault == TRANSFER:
        found = soak.bucket.files(output.name)
        soak.check(
            f"prepare, {fault}",
            {name: found[name] for name in found if not name.endswith(".html") and name.rpartition("/")[2][0] != "."},
            expected,
        )
        return fault
    soak.check(f"prepare, {fault}", files_of(output), expected)
    if fault == TRUNCATE and truncate_one(soak, output, "size-*/*") and soak.run("beam_prep", "verify", output) != 1:
        soak.faults.append("verify: finds nothing in a truncated shard")
    return fault


def train_round(soak: Soak, output: Path, expected: dict[str, bytes], seconds: float) -> str:
    """Disturbs a training."""
    fault = soak.chance.choice((KILL, FULL_DISK, TRUNCATE, TRANSFER))
    data: object = soak.root / "dataset"
    if fault == TRANSFER:
        data = f"{soak.bucket.url}/data"
        soak.bucket.fail(r"GET .*", kind=soak.chance.choice(("status", "lose", "cut")), times=6)
    words = ("trainer", "train", "--data", data, "--output", output, *TRAIN)
    if fault in (KILL, TRUNCATE):
        code = soak.run(*words, kill_after_s=soak.chance.uniform(0.3, 1.0) * seconds)
    elif fault == FULL_DISK:
        code = soak.run(*words, max_file_bytes=soak.chance.choice((10_000, 1_000_000, 50_000_000)))
    else:
        code = soak.run(*words)
        soak.bucket.faults.clear()
    if fault == TRUNCATE:
        numbers = sorted(path.stem for path in output.glob("checkpoints/????????.json"))
        if len(numbers) > 1:  # from the one before the newest the training goes on
            truncate_one(soak, output, f"checkpoints/{numbers[-1]}*")
    is_finished = (output / "metrics.json").exists() and not (output / "checkpoints" / "job.json").exists()
    if code and not is_finished:  # a kill may come after the end; a finished run is not trained again
        soak.complete("train", *words)
    soak.check(f"train, {fault}", results_of(output), expected)
    return fault


def results_of(run: Path) -> dict[str, bytes]:
    """Returns the files of a run that hold no time."""
    return files_of(run, "predictions-*.csv")


def search_round(soak: Soak, output: Path, expected: dict[str, bytes], seconds: float) -> str:
    """Disturbs a search."""
    fault = soak.chance.choice((KILL, FULL_DISK))
    words = ("tuning", "search", "--data", soak.root / "dataset", "--output", output, *SEARCH)
    if fault == KILL:
        soak.run(*words, kill_after_s=soak.chance.uniform(0.2, 1.0) * seconds)
        soak.complete("search", *words)
    elif soak.run(*words, max_file_bytes=soak.chance.choice((2000, 20_000))):
        soak.complete("search", *words, "--overwrite")  # that a trial failed is a result, which stays
    trials = len((output / "trials.csv").read_text().splitlines()) - 1 if (output / "trials.csv").exists() else 0
    if trials < 2:
        soak.faults.append(f"search, {fault}: {trials} trials in trials.csv, expected 2")
    return fault


def reference(soak: Soak, name: str, *words: object) -> tuple[Path, float]:
    """Runs a command in peace before all rounds; returns its output and the seconds that it took."""
    output, start = soak.root / f"expected-{name}", time.monotonic()
    soak.complete(name, *words, "--output", output)
    return output, time.monotonic() - start


def soak_for(soak: Soak, minutes: float) -> None:
    """Disturbs commands until the time is over."""
    end = time.monotonic() + 60 * minutes
    soak.run("beam_prep", "synthesize", "--output", soak.root / "images", "--num_images", 80, "--image_px", 96)
    images = ("--input", soak.root / "images", "--image_sizes", 32)
    dataset, prepare_s = reference(soak, "prepare", "beam_prep", "prepare", *images)
    dataset.rename(soak.root / "dataset")
    soak.bucket.put(soak.root / "dataset", "data")
    run, train_s = reference(soak, "train", "trainer", "train", "--data", soak.root / "dataset", *TRAIN)
    rounds: list[tuple[str, Callable[[Soak, Path, dict[str, bytes], float], str], dict[str, bytes], float]] = [
        ("prepare", prepare_round, files_of(soak.root / "dataset"), prepare_s),
        ("train", train_round, results_of(run), train_s),
        ("search", search_round, {}, 2 * train_s),
    ]
    number = 0
    while number < len(rounds) or time.monotonic() < end:
        name, disturb, expected, seconds = rounds[2 if number % 6 == 2 else number % 2]
        output = soak.root / f"round-{number}"
        fault = disturb(soak, output, expected, seconds)
        soak.rounds[name, fault] = soak.rounds.get((name, fault), 0) + 1
        print(
            f"{time.strftime('%H:%M:%S')} round {number}: {name}, {fault}; faults so far: {len(soak.faults)}",
            flush=True,
        )
        shutil.rmtree(output, ignore_errors=True)
        number += 1


def main() -> int:
    """Runs the soak and prints what came of it."""
    minutes, seed = float(os.environ.get("SOAK_MINUTES", 60)), int(os.environ.get("SOAK_SEED", 0))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, served() as bucket:
        for name in ("tmp", "cache"):
            (Path(folder) / name).mkdir()
        os.environ |= {"TMPDIR": f"{folder}/tmp", "XDG_CACHE_HOME": f"{folder}/cache", "TF_CPP_MIN_LOG_LEVEL": "3"}
        tempfile.tempdir = f"{folder}/tmp"
        soak = Soak(Path(folder), random.Random(seed), bucket)
        soak_for(soak, minutes)
        num_cached = sum(len(names) for _, _, names in os.walk(f"{folder}/cache"))
    for (name, fault), count in sorted(soak.rounds.items()):
        print(f"{name:<10}{fault:<18}{count:>4} rounds")
    for name, peaks in soak.peaks.items():
        print(
            f"{name:<10}peak memory {peaks[0]:.0f} MB at first, {peaks[-1]:.0f} MB at last, {max(peaks):.0f} MB at most"
        )
    print(f"{num_cached} files in the cache at the end; {len(soak.faults)} faults (seed {seed})")
    for text in soak.faults:
        print(f"fault: {text}", file=sys.stderr)
    return int(bool(soak.faults))


if __name__ == "__main__":
    sys.exit(main())
