"""Keeps two jobs out of one folder of a bucket that FUSE shows, where locks keep out only processes of one machine.

The job that writes to the folder keeps a file in it, the claim, and writes it anew every few seconds. A bucket creates
and replaces an object by its generation, so that of two jobs that write the claim at once one fails. Standard library
only.

Source: https://cloud.google.com/storage/docs/cloud-storage-fuse/overview (no locks, last writer wins, caches)
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import CxrflowError
from beam_prep.console.escapes import printable
from beam_prep.console.progress import say
from beam_prep.storage.output_folder import CLAIM

MOUNTS = Path("/proc/self/mountinfo")
"""The mounted file systems, see proc(5); only Linux has this file."""
FUSE = re.compile(r"fuse(\.(?!fuse-overlayfs).*)?")
"""The types of file systems that may show a bucket; fuse-overlayfs is the disk of a container without root."""
BEAT_S = 15.0
"""The time between two renewals of a claim, s."""
STALE_S = 150.0
"""The time after which a claim that was not renewed is nobody's, s: gcsfuse may show a file as it was 60 s ago."""
SETTLE_S = 1.0
"""The time that a new claim must last, s, on a file system where the last of two writers wins."""
POLL_S = 1.0
"""The time between two looks at the claim of another job, s."""


def is_shown_by_fuse(folder: Path) -> bool:
    """Returns True if a folder lies on a FUSE file system: in a bucket that FUSE shows, as far as can be known.

    There a folder is not renamed, a file appears for other machines when it is closed, and a lock is one of a machine.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    place, types = os.path.realpath(folder), {}
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        if Path(place).is_relative_to(mounted):
            types[len(mounted)] = after.split(" ")[0]  # the last of several mounts at one place hides the others
    return bool(types) and FUSE.fullmatch(types[max(types)]) is not None


@contextmanager
def claimed(folder: Path, busy: CxrflowError) -> Iterator[None]:
    """Keeps the jobs of other machines out of a folder that FUSE shows while the block runs; elsewhere locks do that.

    Args:
        folder: the folder, which exists.
        busy: the error to raise if another job holds the folder.

    Raises:
        CxrflowError: `busy`. Whether a job that holds the folder still works shows within `STALE_S`.
    """
    if not is_shown_by_fuse(folder):
        yield
        return
    claim = _Claim(folder / CLAIM)
    claim.take(busy)
    try:
        with repeatedly(claim.renew, BEAT_S):
            yield
    finally:
        claim.release()


class _Claim:
    """The claim of this process on a folder.

    Args:
        path: the file of the claim.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = secrets.token_hex(8)
        self._renewals = 0

    def take(self, busy: CxrflowError) -> None:
        """Writes the claim; waits first until a claim that is there was not renewed for `STALE_S`."""
        seen = self._read()
        if seen is not None:
            host = printable(seen.partition(" ")[2])[:80]
            say(f"{self._path} is of a job on {host}: looking whether it still works, up to {STALE_S:g} s")
            until = time.monotonic() + STALE_S
            while time.monotonic() < until:
                time.sleep(POLL_S)
                found = self._read()
                if found is None:
                    break
                if found != seen:
                    raise busy
        try:
            self._write("xb" if self._read() is None else "wb")
        except OSError:  # another job was faster: the file exists, or is of another generation by now (ESTALE)
            raise busy from None
        time.sleep(SETTLE_S)
        if not self._is_own(self._read()):
            raise busy

    def renew(self) -> None:
        """Writes the claim anew; ends this process as SIGTERM does if the claim is another job's by now."""
        found = self._read()
        if found is None or found == "" or self._is_own(found):
            self._renewals += 1
            with suppress(OSError):  # the bucket does not answer: there are more renewals before the claim is stale
                self._write("xb" if found is None else "wb")
            return
        say(f"error: {self._path}: this job was not heard of for {STALE_S:g} s, and another one has taken the folder")
        os.kill(os.getpid(), signal.SIGTERM)

    def release(self) -> None:
        """Removes the claim, if it is still that of this process."""
        with suppress(OSError):
            if self._is_own(self._read()):
                self._path.unlink()

    def _is_own(self, content: str | None) -> bool:
        return content is not None and content.startswith(self._token)

    def _read(self) -> str | None:
        """Returns the text of the claim; None if there is none, an empty text if it can't be read at the moment."""
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def _write(self, mode: str) -> None:
        with open(self._path, mode) as file:
            file.write(f"{self._token}-{self._renewals} {socket.gethostname()}".encode())
            file.flush()
            os.fsync(file.fileno())
