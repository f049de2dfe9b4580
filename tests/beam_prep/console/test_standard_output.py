"""Tests what a user reads when the output cannot be written, and after Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from __future__ import annotations
import sys
from dataclasses import dataclass
from beam_prep.console.command import RESUMES, Command
from beam_prep.console.command_line import main

@dataclass(frozen=True)
class Rows:
    '''Print rows.'''
    name: str = 'row'
    '''The text of a row.'''
    num: int = 1
    '''The number of rows.'''

def rows(config):
    for _ in range(config.num):
        print(config.name)

def wait(config):
    print('ready')
    sys.stdin.read()

main('beam_prep', 'A test.', {'rows': Command(Rows, rows), 'wait': Command(Rows, wait, after_interrupt=RESUMES)})
"""


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Runs a command that prints rows, as a process."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **{"capture_output": True, **options})


def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        result = run("rows", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    expected = "error: the output can't be written: No space left on device; the lines so far are whole\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_the_rows_on_a_full_disk_are_whole(tmp_path):
    script = f'ulimit -f 1; trap "" XFSZ; "$0" -c "$1" rows --name "{"x" * 99}" --num 50 > {tmp_path / "rows"}'
    command = ["bash", "-c", script, sys.executable, PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: the output can't be written: File too large; the lines so far are whole\n"
    assert (tmp_path / "rows").read_text() == ("x" * 99 + "\n") * 10, "1,024 bytes hold ten rows of 100"


@pytest.mark.parametrize("arguments", [["rows", "--num", 100_000], ["rows", "--help"]])
def test_a_reader_that_has_ended_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    result = run(*arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert result.returncode == 0
    assert result.stderr == "note: the reader of the output has ended; the lines after that are not written\n"


def test_a_name_that_the_encoding_lacks_is_escaped():
    result = run("rows", "--name", "Röntgen", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stdout) == (0, "R\\xf6ntgen\n")


def test_paths_may_begin_with_the_home_folder():
    home = {**os.environ, "HOME": "/home/someone"}
    for argument in (["--name=~/ds"], ["--name", "~/ds"]):
        assert run("rows", *argument, env=home).stdout == "/home/someone/ds\n"
    assert run("rows", "--name", "a~/b", env=home).stdout == "a~/b\n"


def test_ctrl_c_says_how_to_go_on():
    command = [sys.executable, "-c", PROGRAM, "wait"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, said) == (130, "error: interrupted; the same command resumes it\n")
