"""Finds the input images, and reads class, split and patient group from their paths.

The PatientID of a DICOM file is read later, from its header (`pipeline/prepare_image.py`).
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace

from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import BY_CSV, BY_FOLDER, BY_REGEX
from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.images.formats import DICOM_SUFFIXES, IMAGE_SUFFIXES, image_files
from beam_prep.sources.metadata_csv import read_metadata
from beam_prep.sources.patients import KNOWN_NAMES, PatientRule
from beam_prep.storage.paths import AnyPath, to_path

TEST_FOLDER = "test"


@dataclass(frozen=True)
class Source:
    """An input file and what its path or a metadata file says about it.

    Attributes:
        filename: the path relative to the input folder, "/" between parts.
        label: the index of the class in `CLASS_NAMES`; None where no folder of the path names a class.
        split: `test` if a folder of the path has that name, or the split in a metadata file; None leaves it to the rank
            of the patient.
        group: the patient in plain text, which never leaves the preparation; the file name where no patient is known.
        told_by: what told the patient, see `patient_groups`.
    """

    filename: str
    label: int | None
    split: str | None
    group: str
    told_by: str

    @property
    def is_dicom(self) -> bool:
        """True if the file name has the suffix of a DICOM file."""
        return self.filename.lower().endswith(DICOM_SUFFIXES)

    @property
    def is_told_by_user(self) -> bool:
        """True if the user said how to tell the patient, which goes before the PatientID of a DICOM file."""
        return self.told_by in (BY_CSV, BY_REGEX, BY_FOLDER)

    def to_json(self) -> str:
        """Returns one line of the listing that the pipeline reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Source:
        """Parses a line of the listing, the inverse of `to_json`."""
        return cls(**json.loads(line))


def describe(filename: str, patient_rule: PatientRule = KNOWN_NAMES) -> Source:
    """Reads class, split and patient group from a path.

    Args:
        filename: the path relative to the input folder.
        patient_rule: the way to tell the patient.
    """
    folders = filename.split("/")[:-1]
    classes = [CLASS_NAMES.index(folder.upper()) for folder in folders if folder.upper() in CLASS_NAMES]
    patient, told_by = patient_rule.tell(filename)
    return Source(
        filename=filename,
        label=classes[-1] if classes else None,
        split=TEST_FOLDER if TEST_FOLDER in (folder.lower() for folder in folders) else None,
        group=patient or filename,
        told_by=told_by,
    )


def find_sources(
    root: str | AnyPath, *, patient_rule: PatientRule = KNOWN_NAMES, metadata_csv: str | None = None
) -> list[Source]:
    """Finds every image file in a folder and its subfolders (see `image_files`), sorted by path.

    Args:
        root: the folder.
        patient_rule: the way to tell the patient of an image from its path.
        metadata_csv: a metadata file, see `read_metadata`, which takes precedence over the path.

    Raises:
        UsageError: the folder is absent, holds no image, no class folder, or images of one class only; or the rule
            tells no patient.
    """
    root = to_path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise UsageError(f"--input {root}: expected a folder with images, found {found}; check the path")
    sources = [describe(filename, patient_rule) for filename in sorted(image_files(root))]
    if not sources:
        raise UsageError(f"--input {root}: found no image ({', '.join(IMAGE_SUFFIXES)}) in it or its folders")
    if problem := patient_rule.find_problem(source.told_by for source in sources):
        raise UsageError(f"--input {root}: {problem}")
    if metadata_csv:
        rows = read_metadata(metadata_csv, root, {source.filename for source in sources})
        sources = [replace(source, **rows.get(source.filename, {})) for source in sources]
        covered = f"--metadata_csv {metadata_csv}: has rows for {len(rows)} of {len(sources)} images"
    labels = {source.label for source in sources}
    expected = " and ".join(f"{name}/" for name in CLASS_NAMES)
    for label, name in enumerate(CLASS_NAMES):
        if label not in labels and metadata_csv:
            raise UsageError(f"{covered}; by these rows and the class folders none is {name}; add rows with that label")
        if label not in labels:
            raise UsageError(
                f"--input {root}: {len(sources)} images, none of them in a folder {name}/; "
                f"expected class folders {expected}"
            )
    if metadata_csv and (num_unlabelled := sum(source.label is None for source in sources)):
        logging.warning("%s; %d have neither a label there nor a class folder: rejected", covered, num_unlabelled)
    return sources
