"""Checks that the output of a training is kept in a file, whatever ends the training."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from control_plane import eventually

from beam_prep import kept_log

PROGRAM = """
import os, signal, sys, time
from beam_prep import kept_log
kept_log.KEEP_S = 0.05
kept_log.keep_log(sys.argv[1])
print("epoch 1", flush=True)
exec(sys.argv[2])
"""
STOPPED = """
signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""


def start(folder, then):
    command = [sys.executable, "-c", PROGRAM, str(folder), then]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kept(folder):
    return [path.read_text() for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("os.write(2, b'error: no\\n'); sys.exit(1)", 1, "error: no\n"),
        ("os.kill(os.getpid(), 9)", 137, ""),
        ("os.fork() or (time.sleep(3), os._exit(0))", 0, ""),
    ],
)
def test_the_output_is_printed_and_kept_and_the_exit_code_is_that_of_the_work(tmp_path, then, code, said):
    process = start(tmp_path / "logs", then)
    assert process.wait(30) == code
    assert (process.stdout.readline(), process.stderr.readline()) == ("epoch 1\n", said)
    assert kept(tmp_path / "logs") == [f"epoch 1\n{said}"]


def test_sigterm_reaches_the_work_whose_last_lines_are_kept(tmp_path):
    process = start(tmp_path, STOPPED)
    assert [process.stdout.readline() for _ in range(2)] == ["epoch 1\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("saved\n", "", 143)
    assert kept(tmp_path) == ["epoch 1\nready\nsaved\n"]


def is_alive(process_id):
    """Returns True if a process runs: one that has ended may not be collected by its new parent."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_work_ends_with_the_process_that_keeps_its_log(tmp_path):
    process = start(tmp_path, "print(os.getpid(), flush=True); time.sleep(60)")
    work = [process.stdout.readline() for _ in range(2)][1].strip()
    assert is_alive(work)
    process.kill()
    process.wait()
    eventually(lambda: not is_alive(work), "the end of the work", 10)


def test_a_folder_that_can_not_be_written_is_said_once_and_ends_no_work(tmp_path):
    (tmp_path / "file").touch()
    out, _ = start(tmp_path / "file", "time.sleep(0.3); print('epoch 2')").communicate(timeout=30)
    assert "epoch 2\n" in out
    assert out.count("note: the log can't be kept in") == 1


def test_a_place_that_nothing_is_written_to_is_left_to_the_work_to_refuse():
    out, err = start("s3://b/t-logs", "sys.exit(2)").communicate(timeout=30)
    assert (out, err) == ("epoch 1\n", "")


def test_of_a_long_log_the_end_is_kept_in_a_bucket(bucket, monkeypatch):
    monkeypatch.setattr(kept_log, "MAX_BYTES", 8)
    log = kept_log._KeptLog(f"{bucket.url}/runs/t-logs")
    for text in (b"epoch 1\n", b"epoch 2\n"):
        log.add(text)
        log.write()
    log.write()
    assert list(bucket.files("runs/t-logs").values()) == [b"epoch 2\n"]
