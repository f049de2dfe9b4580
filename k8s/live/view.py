"""Follows a submission: as a table on a terminal, elsewhere as a line for each change."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import Unreachable
from k8s.cluster.status import Status, StatusLine, read_status
from k8s.cluster.waiting import PATIENCE_S
from k8s.live.progress import Output, output_of, read_progress

LOOK_S = 5.0
"""The time between two looks at the objects of the cluster, s."""
PROGRESS_S = 15.0
"""The time between two looks at the output folder, s: all files of a sweep are read."""

Show = Callable[[str, Sequence[StatusLine]], None]
"""A function that shows the state of a submission and the lines below it."""


def table(lines: Sequence[StatusLine]) -> list[str]:
    """Returns the lines of a status as a table, with the reason of a line below it."""
    width = max((len(f"{line.kind} {line.name}") for line in lines), default=0) + 2
    shown = []
    for line in lines:
        shown.append(f"{f'{line.kind} {line.name}':{width}}{line.state:13}{line.detail}".rstrip())
        if line.reason:
            shown.append(f"    {line.reason}")
    return shown


def heading(status: Status) -> str:
    """Returns the line above the table of a status."""
    return f"{status.name} in namespace {status.namespace}: {status.state}"


def follow(cluster: Cluster, name: str, output: str | None, show: Show) -> None:
    """Shows a submission again and again until its work has ended.

    Args:
        cluster: the namespace of the submission.
        name: the name of the submission.
        output: its output folder as this machine sees it; None takes the folder in its objects.
        show: shows the state and the lines.

    Raises:
        UsageError: the namespace has no submission of that name.
        RunError: it was deleted before its end was seen, or the cluster did not answer for `PATIENCE_S`.
    """
    status = read_status(cluster, name)
    progress = _Progress(output_of(status.objects, output))
    last_answer, trouble = time.monotonic(), ""
    while status.state not in ("complete", "failed", "no work"):
        show(heading(status) + trouble, (*status.lines, *progress.lines))
        time.sleep(LOOK_S)
        try:
            status, last_answer, trouble = read_status(cluster, name), time.monotonic(), ""
        except Unreachable as error:
            if time.monotonic() - last_answer > PATIENCE_S:
                raise
            trouble = f"; {error}"
        except UsageError:
            raise RunError(f"{name} was deleted, or its time to live is over, before its end was seen") from None
    show(heading(status), (*status.lines, *progress.last()))


class _Progress:
    """The progress in an output folder, which a thread reads: a bucket may take long to answer, or not answer.

    Args:
        output: the output folder; None for a submission without one.

    Attributes:
        lines: what was read last.
    """

    def __init__(self, output: Output | None) -> None:
        self.lines: Sequence[StatusLine] = ()
        self._output = output
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def last(self) -> Sequence[StatusLine]:
        """Ends the thread, and returns what the folder holds now, or what was read last if it does not answer."""
        self._ended.set()
        self._thread.join(PROGRESS_S)
        return self.lines if self._thread.is_alive() else read_progress(self._output)

    def _read(self) -> None:
        while not self._ended.is_set():
            self.lines = read_progress(self._output)
            self._ended.wait(PROGRESS_S)


class Screen:
    """A table on a terminal, each over the one before.

    Args:
        out: the terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._num_lines = 0

    def show(self, state: str, lines: Sequence[StatusLine]) -> None:
        """Shows the table; what is wider or higher than the terminal is cut, or it could not be written over."""
        width, height = shutil.get_terminal_size()
        shown = [state, *table(lines)]
        if len(shown) > height - 1:
            shown = [*shown[: height - 2], f"and {len(shown) - height + 2} more lines"]
        back = f"\x1b[{self._num_lines}F" if self._num_lines else ""
        self._out.write(back + "\x1b[J" + "".join(f"{line[: width - 1]}\n" for line in shown))
        self._out.flush()
        self._num_lines = len(shown)


class Lines:
    """A line for each change, for logs and pipes.

    Args:
        out: the file that the lines are written to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told: dict[str, str] = {}

    def show(self, state: str, lines: Sequence[StatusLine]) -> None:
        """Writes what has changed since the last call."""
        texts = {"": state}
        for line in lines:
            name = f"{line.kind} {line.name}"
            texts[name] = (
                f"{name}: {', '.join(filter(None, (line.state, line.detail)))}{line.reason and '; '}{line.reason}"
            )
        for name, text in texts.items():
            if self._told.get(name) != text:
                self._told[name] = text
                self._out.write(f"{text}\n")
        self._out.flush()
