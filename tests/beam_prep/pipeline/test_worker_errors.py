"""Tests that the console is spared what Beam and its workers print, which is kept in a file."""

import logging
import sys
import threading

from beam_prep.pipeline.worker_errors import advise, errors_kept_in


def test_what_beam_prints_and_logs_is_in_the_file_and_not_on_the_console(tmp_path, capsys):
    path = str(tmp_path / "errors.log")
    with errors_kept_in(path):
        worker = threading.Thread(target=lambda: print("Traceback of a worker", file=sys.stderr))
        worker.start()
        worker.join()
        logging.getLogger("apache_beam.runners").error("Error processing instruction %s", "bundle_1")
    assert (tmp_path / "errors.log").read_text() == "Traceback of a worker\nError processing instruction bundle_1\n"
    assert capsys.readouterr().err == ""
    assert advise(ValueError("broken"), path) == f"; the tracebacks are in {path}"


def test_a_full_disk_is_told_with_what_helps_and_takes_no_text():
    with errors_kept_in("/dev/full"):
        print("lost", file=sys.stderr)
    for number in (27, 28):
        error = RuntimeError(f"OSError: [Errno {number}] No space left on device [while running 'PrepareImage']")
        assert advise(error, "/absent") == "; free some space, and run the same command again to resume"
    assert advise(ValueError("broken"), "/absent") == ""
