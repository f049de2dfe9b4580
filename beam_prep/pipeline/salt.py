"""Chooses the salt of a dataset before its first hash, and keeps the secret salt of a site. Standard library only.

A hash of a patient hides nothing from somebody who can try all identifiers and knows the salt. So the salt is secret
wherever the patients are: only sets whose file names are public anyway have the public salt.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beam_prep.config import SALT_FLAGS, PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import PUBLIC_SALT, Salt
from beam_prep.sources.discover import Source
from beam_prep.storage.atomic import replacing
from beam_prep.storage.locks import locked
from beam_prep.storage.paths import file_info, read_file, to_path

MIN_SALT_BYTES = 16
MAX_SALT_BYTES = 2**20
IN_POD = "KUBERNETES_SERVICE_HOST"
"""The environment variable that Kubernetes sets in every container."""


@dataclass(frozen=True)
class SaltFile:
    """The place of a salt that each worker reads itself.

    The graph of a job on a service holds this in place of the salt: whoever may see the job can read its graph.

    Attributes:
        path: the file, in a bucket.
        stamp: the size and version of the file when the job was submitted: a dataset has one salt.
    """

    path: str
    stamp: tuple[int, int]

    @classmethod
    def of(cls, path: str) -> SaltFile:
        """Returns the place of a salt file as it is now."""
        return cls(path, file_info(to_path(path)).stamp)

    def read(self) -> Salt:
        """Reads the salt.

        Raises:
            UsageError: the file can't be read, or is not the one that was there when the job was submitted.
        """
        if SaltFile.of(self.path) != self:
            raise UsageError(f"--salt_file {self.path}: was replaced since the job was submitted; submit the job again")
        return _read(f"--salt_file {self.path}", self.path)


def given_salt(config: PrepConfig) -> Salt | None:
    """Returns the salt that the options name; None where they leave the choice to `default_salt`.

    Raises:
        UsageError: the salt file can't be read, or is too short to be a secret.
    """
    if config.public_salt:
        return PUBLIC_SALT
    return None if config.salt_file is None else _read(f"--salt_file {config.salt_file}", config.salt_file)


def default_salt(sources: Iterable[Source]) -> Salt:
    """Returns the salt of a dataset whose options name none, by what tells the patients.

    Where the names of known public sets tell all patients, the salt is the public one. Anywhere else (DICOM headers, a
    CSV, an own pattern, names of no known set) it is the secret salt of this site, which is made on first use.

    Args:
        sources: all inputs.

    Raises:
        UsageError: the salt of this site can't be read or written, or this is a pod, which would forget it.
    """
    return PUBLIC_SALT if all(source.is_public for source in sources) else _site_salt()


def salt_path() -> Path:
    """Returns the file of the salt of this site, in the user's configuration folder.

    Source: XDG Base Directory Specification, 0.8, which says that a relative path is not to be used.
    """
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder if os.path.isabs(folder) else os.path.expanduser("~/.config"), "cxrflow", "salt")


def _site_salt() -> Salt:
    """Reads the salt of this site, which is made at random where there is none, and prints its path."""
    path = salt_path()
    if os.environ.get(IN_POD):
        raise UsageError(f"the hashes of patients need a salt, and a pod would forget one that it made: {SALT_FLAGS}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.parent):  # two first preparations at once agree on one salt
            is_new = not path.exists()
            if is_new:
                _write(path, secrets.token_hex(32) + "\n")
        is_open = path.stat().st_mode & 0o077
    except OSError as error:
        raise UsageError(f"{path}: can't hold the salt of this site: {error.strerror}; {SALT_FLAGS}") from None
    if is_open:
        raise UsageError(f"{path}: others may read the salt of this site, a secret: chmod 600 {path}")
    made = "made just now: keep a copy, since no other salt gives the same hashes and splits" if is_new else "kept"
    logging.warning("patients are hashed with the secret salt of this site, %s (%s)", path, made)
    return _read(str(path), str(path))


def _write(path: Path, text: str) -> None:
    """Writes a new file that only its owner may read, whole or not at all."""
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def _read(place: str, path: str) -> Salt:
    """Reads a salt from a file; errors begin with `place`."""
    try:
        value = read_file(to_path(path), MAX_SALT_BYTES)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from None
    if len(value) < MIN_SALT_BYTES:
        raise UsageError(f"{place}: holds {len(value)} bytes, at least {MIN_SALT_BYTES} make a secret")
    return Salt(value)
