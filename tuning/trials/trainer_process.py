"""One training in a process of its own: what kills it leaves the search alive. Standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import Terminated
from trainer.run.folder import RunFolder

LAUNCH = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: end with the parent, however that ends
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""A program whose arguments are the number of its parent, and those of the Python that it becomes."""
STOPPED = (143, -signal.SIGTERM)
"""Exit codes of a training that was asked to stop; what it had is saved."""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True)
class Attempt:
    """How a training ended.

    Attributes:
        exit_code: 0 done, 2 wrong configuration, 1 failed, negative for a signal.
        reason: why it failed, in one line; None if it did not.
        seconds: wall time.
        peak_memory_bytes: resident, of the process.
    """

    exit_code: int
    reason: str | None
    seconds: float
    peak_memory_bytes: int

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked it to stop: it is neither done nor failed, and can be gone on with."""
        return self.exit_code in STOPPED


def run_trainer(
    run: Path,
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    inherit: tuple[int, ...] = (),
    started: Callable[[int], object] = lambda pid: None,
) -> Attempt:
    """Runs `python -m trainer train` to its end, from the start or from where it was stopped.

    Whatever exception a signal raises here, the training is asked to stop, and waited for, before it goes on its way.

    Args:
        run: the run folder, which exists; `flags.json` and `trainer.log` (its stdout and stderr) are written there too.
        flags: of the training.
        environ: variables of the process.
        inherit: file descriptors that the process keeps open.
        started: is told its number.
    """
    folder, log = RunFolder(run), run / "trainer.log"
    folder.write_json("flags", flags)
    folder.checkpoints.mkdir(exist_ok=True)  # so that the trainer takes the folder for a run
    arguments = ["-m", "trainer", "train", "--config", str(run / "flags.json"), "--output", str(run)]
    begun = time.monotonic()
    with open(log, "ab") as output:
        before = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            pass_fds=inherit,
            start_new_session=True,  # Ctrl-C is for the search, which then asks the training to stop
        )
        started(process.pid)
        try:
            exit_code, peak = _wait(process)
        except BaseException:
            process.terminate()
            _wait(process)
            raise
    return Attempt(exit_code, _reason(exit_code, log, before), time.monotonic() - begun, peak)


def _wait(process: subprocess.Popen) -> tuple[int, int]:
    """Exit code and peak memory in bytes; `Popen.wait` does not tell the memory.

    The peak counts from the fork on, and so is never less than what the search itself takes: TensorFlow, as a training.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * MAXRSS_UNIT


def _reason(exit_code: int, log: Path, start: int) -> str | None:
    """What a training that failed said last, from byte `start` of its log on."""
    told = "/".join(log.parts[-3:])  # as in the folder of the sweep, wherever that is
    if exit_code == 0 or exit_code in STOPPED:
        return None
    if exit_code == -signal.SIGKILL:
        return "killed by signal 9, most likely by the system for want of memory; try a smaller batch or image size"
    if exit_code < 0:
        return f"crashed by signal {-exit_code} ({signal.Signals(-exit_code).name}); see {told}"
    with open(log, "rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if errors:
        return lines[errors[-1]].removeprefix("error: ")
    return f"{lines[-1] if lines else f'exit code {exit_code}'}; see {told}"


def is_finished(run: Path) -> bool:
    """Whether a run folder holds a training that has ended well."""
    return (run / "metrics.json").exists() and not RunFolder(run).checkpoints.exists()


def stop_on_sigterm() -> None:
    """From here on SIGTERM raises `Terminated`, once; a second one ends the process at once."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated("SIGTERM came; what runs is saved: the same command goes on from there")

    signal.signal(signal.SIGTERM, stop)
