"""Decides what Ctrl-C and SIGTERM do to a command and to its child processes. Standard library only."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from beam_prep.console.errors import Terminated

INTERRUPTED = 130
"""The exit code that shells report for a process that Ctrl-C ended."""
_LAUNCHER = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, int(sys.argv[2]))  # PR_SET_PDEATHSIG: end with the parent, however that ends
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
"""The program that becomes the child: its arguments are the parent's process id, a signal, and Python's arguments."""


def end_silently_on_interrupt() -> None:
    """Makes Ctrl-C end this process without a traceback, for as long as Python loads the modules of a command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Makes Ctrl-C raise KeyboardInterrupt again, unless this process was started to ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def stop_on_sigterm(advice: str) -> None:
    """Makes the first SIGTERM raise `Terminated`; a second one ends the process at once.

    Args:
        advice: what the user can do next.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated(f"stopped by SIGTERM; {advice}")

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def ending_at_once(advice: str) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end the process in the block at once, with one line on stderr, and nothing tidied up.

    This suits work that is safe from `kill -9`, done by a library whose threads complain about files closed under them.
    An exception would not do: one that is raised while the library is imported may be dropped there.

    Args:
        advice: what the user can do next.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        said, code = (
            ("interrupted", INTERRUPTED) if number == signal.SIGINT else ("stopped by SIGTERM", Terminated.exit_code)
        )
        # The first new line ends a progress bar. This is no print, which may be what is interrupted.
        os.write(2, f"\nerror: {said}; {advice}\n".encode())
        os._exit(code)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def child_command(*arguments: str, end_by: signal.Signals = signal.SIGTERM) -> list[str]:
    """Returns the command that runs Python with these arguments as a child that ends when this process ends.

    Args:
        arguments: the arguments of Python.
        end_by: the signal that the child gets at the end of this process, where the system is Linux.
    """
    return [sys.executable, "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(end_by)), *arguments]
