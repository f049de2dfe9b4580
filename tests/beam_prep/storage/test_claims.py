"""Checks that of two jobs on two machines one gets the folder of a bucket that FUSE shows."""

import errno
import os
import signal

import pytest

from beam_prep.console.errors import RunError
from beam_prep.storage import claims
from beam_prep.storage.claims import CLAIM, STALE_S, _Claim, is_shown_by_fuse
from beam_prep.storage.locks import exclusive
from beam_prep.storage.output_folder import check_only_written, check_output

BUSY = RunError("busy")


class Clock:
    """The time of the test, in which `happen` is called for every second that somebody sleeps."""

    def __init__(self):
        self.now_s = 0.0
        self.happen = lambda: None

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        self.happen()


@pytest.fixture
def clock(monkeypatch):
    """Lets claims see a clock that only sleeping moves."""
    clock = Clock()
    monkeypatch.setattr(claims, "time", clock)
    return clock


@pytest.fixture
def fuse(tmp_path, monkeypatch):
    """Makes a folder that the list of mounts shows as a bucket."""
    folder = tmp_path / "my bucket"
    folder.mkdir()
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:21 / / rw - fuse.fuse-overlayfs overlay rw\n"
        f"23 22 0:22 / {str(folder).replace(' ', chr(92) + '040')} rw shared:1 - fuse.gcsfuse bucket rw\n"
        f"24 23 0:23 / {str(folder).replace(' ', chr(92) + '040')}/disk rw - ext4 /dev/sda1 rw\n"
    )
    monkeypatch.setattr(claims, "MOUNTS", mounts)
    return folder


def test_a_bucket_that_fuse_shows_is_known_by_its_mount(fuse, monkeypatch):
    assert is_shown_by_fuse(fuse)
    assert is_shown_by_fuse(fuse / "runs" / "not there yet")
    assert not is_shown_by_fuse(fuse / "disk" / "run")
    assert not is_shown_by_fuse(fuse.parent), "the disk of a container without root is no bucket"
    monkeypatch.setattr(claims, "MOUNTS", fuse / "absent")
    assert not is_shown_by_fuse(fuse), "not known: no Linux"


def test_a_folder_whose_job_works_is_refused(tmp_path, clock):
    holder = _Claim(tmp_path / CLAIM)
    holder.take(BUSY)
    clock.happen = lambda: clock.now_s % 15 == 1 and holder.renew()
    with pytest.raises(RunError, match="busy"):
        _Claim(tmp_path / CLAIM).take(BUSY)
    assert clock.now_s < 20, "which shows within the time of a renewal"


def test_the_folder_of_a_job_that_was_killed_is_taken_over(tmp_path, clock, monkeypatch, capsys):
    killed, taker = _Claim(tmp_path / CLAIM), _Claim(tmp_path / CLAIM)
    killed.take(BUSY)
    taker.take(BUSY)
    assert clock.now_s == pytest.approx(STALE_S, abs=3)
    assert "looking whether it still works" in capsys.readouterr().err
    signals = []
    monkeypatch.setattr(os, "kill", lambda process, number: signals.append((process, number)))
    taker.renew()
    assert not signals
    killed.renew()
    assert signals == [(os.getpid(), signal.SIGTERM)], "a job that only slept stops when it wakes"
    killed.release()
    assert (tmp_path / CLAIM).exists()
    taker.release()
    assert not (tmp_path / CLAIM).exists()


def test_of_two_jobs_that_claim_at_once_one_gets_the_folder(tmp_path, clock, monkeypatch):
    first, second = _Claim(tmp_path / CLAIM), _Claim(tmp_path / CLAIM)
    clock.happen = lambda: second._write("wb")  # the last writer wins
    with pytest.raises(RunError, match="busy"):
        first.take(BUSY)

    def refuse(descriptor):  # the object is of another generation by now
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    (tmp_path / CLAIM).unlink()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match="busy"):
        first.take(BUSY)


def test_a_bucket_that_does_not_answer_for_a_moment_ends_no_job(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda process, number: pytest.fail("stopped"))
    claim = _Claim(tmp_path / CLAIM)
    claim.take(BUSY)
    with monkeypatch.context() as patch:
        patch.setattr(claims.Path, "read_text", lambda *arguments, **options: (_ for _ in ()).throw(OSError()))
        claim.renew()
    (tmp_path / CLAIM).unlink()
    claim.renew()
    assert (tmp_path / CLAIM).exists()


def test_a_claim_is_no_part_of_an_output(fuse, clock):
    with exclusive(fuse / "run"):
        assert [path.name for path in (fuse / "run").iterdir()] == [CLAIM]
        assert check_output(fuse / "run") == set()
        check_only_written(fuse / "run", ())
    assert not (fuse / "run").exists(), "nothing was written"
    with exclusive(fuse / "disk" / "run"):
        assert list((fuse / "disk" / "run").iterdir()) == [], "locks do there"
