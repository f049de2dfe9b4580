"""Runs one training in a process of its own, so that a crash of the training leaves the search alive.

Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.console.signals import child_command
from beam_prep.storage.locks import is_abandoned, locked
from trainer.run.folder import RunFolder

STOPPED = (143, -signal.SIGTERM)
"""The exit codes of a training that SIGTERM stopped and that has saved its state."""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True)
class Attempt:
    """The outcome of one trainer process.

    Attributes:
        exit_code: the exit code: 0 done, 2 wrong configuration, 1 failed, negative for a signal.
        reason: why the training failed, in one line; None if it did not fail.
        seconds: the wall time.
        peak_memory_bytes: the peak resident memory of the process.
    """

    exit_code: int
    reason: str | None
    seconds: float
    peak_memory_bytes: int

    @property
    def was_stopped(self) -> bool:
        """True if the training was asked to stop: it is neither done nor failed, and can be resumed."""
        return self.exit_code in STOPPED


def lock_run(run: Path, *, timeout_s: float = 0.0) -> AbstractContextManager[int]:
    """Locks a run folder; a trainer that inherits the descriptor holds the lock for as long as it lives.

    Args:
        run: the run folder, which exists.
        timeout_s: how long to wait for another trainer to end.

    Raises:
        UsageError: another trainer still works on the run.
    """
    path = run / ".lock"
    said = f"a trainer still works on {run} (it holds {path}); wait for it, or end it"
    return locked(path, UsageError(said), timeout_s=timeout_s)


def is_left_alone(run: Path) -> bool:
    """Returns True if a run folder has the file of its lock, but no search and no trainer holds the lock."""
    return is_abandoned(run / ".lock")


def run_trainer(
    run: Path,
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    inherit: tuple[int, ...] = (),
    on_start: Callable[[int], object] = lambda pid: None,
) -> Attempt:
    """Runs `python -m trainer train` to its end, from the start or resuming a run that was stopped.

    If a signal raises an exception here, the training is first asked to stop and waited for.

    Args:
        run: the run folder, which exists; `flags.json` and `trainer.log` (stdout and stderr) are written there too.
        flags: the flags of the training.
        environ: the environment variables of the process.
        inherit: the file descriptors that the process keeps open.
        on_start: called with the process id.
    """
    folder, log = RunFolder(run), run / "trainer.log"
    folder.write_json("flags", flags)
    folder.checkpoints.mkdir(exist_ok=True)  # so that the trainer takes the folder for a run
    arguments = ["-m", "trainer", "train", "--config", str(run / "flags.json"), "--output", str(run)]
    begun = time.monotonic()
    with open(log, "ab") as output:
        log_start = output.tell()
        process = subprocess.Popen(
            child_command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            pass_fds=inherit,
            start_new_session=True,  # Ctrl-C is for the search, which then asks the training to stop
        )
        on_start(process.pid)
        try:
            exit_code, peak = _wait(process)
        except BaseException:
            process.terminate()
            _wait(process)
            raise
    return Attempt(exit_code, _failure_reason(exit_code, log, log_start), time.monotonic() - begun, peak)


def _wait(process: subprocess.Popen) -> tuple[int, int]:
    """Waits for a process and returns its exit code and its peak memory in bytes, which `Popen.wait` does not tell.

    The peak counts from the fork on, so it is never less than the memory of the search itself.
    """
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * MAXRSS_UNIT


def _failure_reason(exit_code: int, log: Path, log_start: int) -> str | None:
    """Returns why a training failed: the last error in its log from byte `log_start` on; None if it did not fail."""
    log_name = "/".join(log.parts[-3:])  # relative to the folder of the sweep, which may be moved
    if exit_code == 0 or exit_code in STOPPED:
        return None
    if exit_code == -signal.SIGKILL:
        return "killed by signal 9, most likely by the system for want of memory; try a smaller batch or image size"
    if exit_code < 0:
        return f"crashed by signal {-exit_code} ({signal.Signals(-exit_code).name}); see {log_name}"
    with open(log, "rb") as file:
        file.seek(log_start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    return f"{lines[-1] if lines else f'exit code {exit_code}'}; see {log_name}"


def is_finished(run: Path) -> bool:
    """Returns whether a run folder holds a training that has ended well."""
    return (run / "metrics.json").exists() and not RunFolder(run).checkpoints.exists()
