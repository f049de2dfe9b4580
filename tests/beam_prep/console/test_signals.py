"""Tests what Ctrl-C and SIGTERM do to a command and to its children."""

import signal
import subprocess
import sys
import time

import pytest

PRELUDE = """
import os, signal, subprocess, sys, threading, time
from beam_prep.console.signals import *
"""
BUSY = """
def work():  # as a library does whose files are closed under it
    while True:
        print("working", flush=True)
        time.sleep(0.01)

try:
    with ending_at_once("the same command resumes it"):
        threading.Thread(target=work).start()
        threading.Event().wait()
finally:
    print("tidied up", flush=True)
"""


def signalled(program: str, number: signal.Signals) -> tuple[int, str, str]:
    """Sends a signal to a program after its first line; returns its exit code, output and errors."""
    command = [sys.executable, "-c", PRELUDE + program]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stdout.readline()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    return process.returncode, first + output, errors


@pytest.mark.parametrize(
    ("number", "exit_code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by SIGTERM")]
)
def test_a_process_with_busy_threads_ends_at_once_with_one_line(number, exit_code, said):
    code, output, errors = signalled(BUSY, number)
    assert (code, errors) == (exit_code, f"\nerror: {said}; the same command resumes it\n")
    assert "tidied up" not in output


def test_a_signal_that_is_ignored_stays_ignored():
    program = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
end_silently_on_interrupt()
raise_on_interrupt()
with ending_at_once(""):
    print("ready", flush=True)
    time.sleep(0.2)
print("done")
"""
    assert signalled(program, signal.SIGINT) == (0, "ready\ndone\n", "")


def test_ctrl_c_is_silent_while_modules_are_loaded():
    program = 'end_silently_on_interrupt()\nprint("ready", flush=True)\ntime.sleep(30)'
    assert signalled(program, signal.SIGINT) == (-signal.SIGINT, "ready\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="a child outlives its parent where the system is not Linux")
def test_a_child_ends_with_its_parent():
    program = """
sleep = child_command("-c", "import time; time.sleep(60)", end_by=signal.SIGKILL)
print(subprocess.Popen(sleep).pid, flush=True)
time.sleep(60)
"""
    code, output, _ = signalled(program, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_alive(int(output)):
        assert time.monotonic() < deadline
    assert code == -signal.SIGKILL


def is_alive(pid: int) -> bool:
    """Returns True if a process runs; one that has ended may wait for its parent to ask how."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
