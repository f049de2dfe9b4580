"""Uploads the files of a run or a sweep to a bucket in the background. Standard library only."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Protocol

from beam_prep.console.errors import RunError
from beam_prep.storage.gcs import ConflictError

PAUSE_S = 30.0  # time before a failed upload is tried again
MAX_BEHIND_S = 1800.0  # time without a finished upload after which the work stops

logger = logging.getLogger(__name__)


class Folder(Protocol):
    """A folder that can be uploaded, such as a `RunFolder`; as a text it is the place in the bucket."""

    def snapshot(self) -> Path | None:
        """Returns a snapshot of the files; None if the folder is not in a bucket."""

    def push(self, snapshot: Path | None = None) -> None:
        """Uploads the files that have changed."""


class Uploads:
    """Uploads snapshots of a folder in a thread; only the newest waiting snapshot is uploaded, older ones are dropped.

    A folder that is not in a bucket is not uploaded. At its end, a block with this context waits for the last upload
    and raises the error of `settle`, unless the block has failed itself.

    Args:
        folder: the folder to upload.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._waiting: Path | None = None
        self._busy = self._is_asked = self._is_over = False
        self._error: RunError | None = None
        self._behind_since: float | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Uploads:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            self.settle()
        except RunError as failed:
            if error is None:
                raise
            logger.warning("%s", failed)
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def offer(self) -> None:
        """Takes a snapshot for upload, without copying any file.

        Raises:
            ConflictError: another job writes to the same folder.
            RunError: no upload has finished for `MAX_BEHIND_S`.
        """
        snapshot = self._folder.snapshot()
        if snapshot is None:
            return
        with self._changed:
            self._replace_waiting(snapshot)
            self._behind_since = self._behind_since or time.monotonic()
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._upload_all, name="uploads", daemon=True)
                self._thread.start()
            late = time.monotonic() - self._behind_since > MAX_BEHIND_S
            if self._error is not None and (late or isinstance(self._error, ConflictError)):
                raise self._error

    def settle(self) -> None:
        """Waits until the newest snapshot is uploaded.

        Raises:
            RunError: the upload fails, after one more try.
        """
        with self._changed:
            self._error, self._is_asked = None, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._busy and (self._waiting is None or self._error))
            if self._error is not None:
                raise self._error

    def _upload_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._is_over)
                if self._is_over:
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            error = self._upload(snapshot)
            with self._changed:
                self._busy, self._error = False, error
                if error is None:
                    self._behind_since = time.monotonic() if self._waiting else None
                if error is not None and self._waiting is None:
                    self._waiting = snapshot
                elif snapshot is not None:
                    shutil.rmtree(snapshot)
                self._changed.notify_all()
                if error is not None:
                    self._changed.wait_for(lambda: self._is_asked or self._is_over, PAUSE_S)
                    self._is_asked = False

    def _upload(self, snapshot: Path | None) -> RunError | None:
        try:
            self._folder.push(snapshot)
        except Exception as error:  # any error: if this thread died, `settle` would wait for ever
            logger.warning("upload failed, it will be tried again: %s", error)
            return error if isinstance(error, RunError) else RunError(f"{self._folder}: upload failed: {error}")
        return None

    def _replace_waiting(self, snapshot: Path) -> None:
        if self._waiting is not None:
            shutil.rmtree(self._waiting)
        self._waiting = snapshot
