"""Which files are images, and their class, split and patient group, all from the path alone.

Of a DICOM file, the patient that its header names goes before that of its path (`pipeline/transforms.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.sources.metadata_csv import read_metadata
from beam_prep.storage import paths as storage
from beam_prep.storage.paths import AnyPath

DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)
TEST_FOLDER = "test"

# The names of the Kaggle set (Kermany et al. 2018). One person number stands for two patients there, one for each
# pathogen: person1_virus is in its test folder, person1_bacteria in its train folder.
PATIENT_PATTERNS = (
    re.compile(r"(person\d+_(?:bacteria|virus))_"),
    re.compile(r"((?:NORMAL\d*-)?IM-\d+)-"),
)

# A fixed salt keeps rebuilds identical. It hides nothing from somebody who can guess the name of a patient: that takes
# a secret one, from --salt_file.
DEFAULT_SALT = b"cxrflow patient group 1"


@dataclass(frozen=True)
class Source:
    """One input file.

    Attributes:
        filename: path relative to the input folder, "/" between parts.
        label: index into `CLASS_NAMES`; None where no folder of the path names a class.
        split: `test` where a folder of the path is named so, or as a metadata file says; None leaves it to the hash.
        group: the patient group as the name gives it; never leaves the preparation.
        has_patient: False where the name holds no patient, so that the image stands for a patient of its own.
    """

    filename: str
    label: int | None
    split: str | None
    group: str
    has_patient: bool

    @property
    def is_dicom(self) -> bool:
        """Whether the name is that of a DICOM file."""
        return self.filename.lower().endswith(DICOM_SUFFIXES)

    def to_json(self) -> str:
        """One line of the listing that the pipeline reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Source:
        """The inverse of `to_json`."""
        return cls(**json.loads(line))


def describe(filename: str, group_regex: str | None = None) -> Source:
    """Reads class, split and patient group off a path relative to the input folder.

    Args:
        filename: the path.
        group_regex: found in the path, its first group (or all of it) is the patient; None: the Kaggle set's patterns.
    """
    *folders, name = filename.split("/")
    classes = [CLASS_NAMES.index(folder.upper()) for folder in folders if folder.upper() in CLASS_NAMES]
    if group_regex:
        match = re.search(group_regex, filename)
    else:
        match = next(filter(None, (pattern.match(name) for pattern in PATIENT_PATTERNS)), None)
    patient = match and (match[1] if match.re.groups else match[0])
    return Source(
        filename=filename,
        label=classes[-1] if classes else None,
        split=TEST_FOLDER if TEST_FOLDER in (folder.lower() for folder in folders) else None,
        group=patient or filename,
        has_patient=bool(patient),
    )


def find_sources(
    root: str | AnyPath, *, group_regex: str | None = None, metadata_csv: str | None = None
) -> list[Source]:
    """Every image file under a folder (see `image_files`), sorted by path.

    Args:
        root: the folder.
        group_regex: see `describe`.
        metadata_csv: see `metadata.read_metadata`; what it says of a file goes before what the path says.

    Raises:
        UsageError: the folder is absent, holds no image, no class folder, or images of one class only.
    """
    root = storage.path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise UsageError(f"--input {root}: expected a folder with images, found {found}; check the path")
    sources = [describe(filename, group_regex) for filename in sorted(image_files(root))]
    if metadata_csv:
        rows = read_metadata(metadata_csv, {source.filename for source in sources})
        sources = [replace(source, **rows.get(source.filename, {})) for source in sources]
    if not sources:
        raise UsageError(f"--input {root}: found no image ({', '.join(IMAGE_SUFFIXES)}) in it or its folders")
    labels = {source.label for source in sources}
    expected = " and ".join(f"{name}/" for name in CLASS_NAMES)
    for label, name in enumerate(CLASS_NAMES):
        if label not in labels:
            raise UsageError(
                f"--input {root}: {len(sources)} images, none of them in a folder {name}/; "
                f"expected class folders {expected}"
            )
    return sources


def image_files(root: AnyPath) -> Iterator[str]:
    """The paths, relative to a folder, of all files in it that have the suffix of an image, in any order.

    Skipped: hidden files and folders, `._*` files and `__MACOSX` trees of macOS archives.
    """
    return (name for name, *_ in storage.files(root) if is_image(name))


def is_image(name: str) -> bool:
    """Whether a path, relative to the input folder, is that of an image; see `image_files`."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return name.lower().endswith(IMAGE_SUFFIXES) and not hidden


def hash_text(text: str, salt: bytes) -> str:
    """Salted hash of a patient group or a file name: 16 hex digits, as records hold it."""
    # A key is limited to 64 bytes; a salt file may hold more.
    key = hashlib.blake2b(salt).digest()
    return hashlib.blake2b(_bytes(text), key=key, digest_size=8).hexdigest()


def rank(text: str) -> int:
    """Where a text falls among all texts: uniform in [0, 2**64), the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(_bytes(text), digest_size=8).digest(), "big")


def _bytes(text: str) -> bytes:
    # A file name that is not valid UTF-8 comes from the file system with surrogates in it.
    return text.encode("utf-8", "surrogateescape")
