"""Reads and writes the manifest of a dataset, which lists its shards. Standard library only.

The manifest is written last, atomically: a folder without `manifest.json` is no dataset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from shlex import quote
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.input_counts import InputCounts
from beam_prep.dataset.manifest_schema import check_manifest
from beam_prep.dataset.schema import BINARY, CLASS_NAMES, READABLE_VERSIONS, SCHEMA_VERSION, LabelSpace
from beam_prep.storage.atomic import write_text
from beam_prep.storage.contained import check_contained
from beam_prep.storage.json_schema import anything, read_json
from beam_prep.storage.paths import AnyPath, ReadablePath, to_path, to_readable

MANIFEST_NAME = "manifest.json"
REJECTED_NAME = "rejected.jsonl"
DUPLICATES_NAME = "duplicates.jsonl"
NEAR_DUPLICATES_NAME = "near_duplicates.jsonl"
SUSPECT_NAME = "suspect.jsonl"
LIST_NAMES = (REJECTED_NAME, DUPLICATES_NAME, NEAR_DUPLICATES_NAME, SUSPECT_NAME)
AUDIT_NAME = "audit.json"
REPORT_NAME = "report.html"
TFDS_NAMES = ("dataset_info.json", "features.json")
"""The files that `tfds_files.py` writes beside the shards of each size; they are no part of the dataset."""
INFORMATION = ("software", "patients", "warnings", "num_repaired", "input_counts", "pictures", "cooccurrence")
"""The entries of the manifest that the fingerprint leaves out."""
SINCE_VERSION_2 = ("task", "domains")
"""The entries that a manifest of version 1 does not have."""

DomainCounts = dict[str, dict[str, dict[str, int]]]
"""The number of images by domain, split and class name."""


@dataclass(frozen=True)
class Shard:
    """A TFRecord file: its path relative to the dataset, its content, and the SHA-256 (hex) of its bytes."""

    path: str
    num_records: int
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if self.path.startswith("/") or ".." in self.path.split("/"):  # copies of shards are written under their paths
            raise ValueError(f"shard {self.path} lies outside the dataset")


@dataclass(frozen=True)
class Split:
    """The counts of one split.

    Attributes:
        num_records: the number of images.
        class_counts: class name → number of images of which the class is true. Those of the multilabel task do not add
            up to the number of images.
        class_weights: class name → the weight of an image of the class: n / (K * n_class) for K classes, and
            n_known / (2 * n_present) for the multilabel task, where it is the weight of a present finding (of an absent
            one, n_known / (2 * n_absent)). None for a class without images. Source: the study; King and Zeng, Logistic
            Regression in Rare Events Data, 2001.
        num_groups: the number of patients.
        known_counts: finding → number of images of which it is known whether it is present; None but for the multilabel
            task.
    """

    num_records: int
    class_counts: dict[str, int]
    class_weights: dict[str, float | None]
    num_groups: int
    known_counts: dict[str, int] | None = None

    @classmethod
    def from_counts(cls, class_counts: Mapping[str, int], num_groups: int) -> Split:
        """Computes the total and the class weights from the counts by class name, where each image has one class."""
        total = sum(class_counts.values())
        weights = {name: total / (len(class_counts) * n) if n else None for name, n in class_counts.items()}
        return cls(total, dict(class_counts), weights, num_groups)

    @classmethod
    def from_findings(
        cls, present: Mapping[str, int], known: Mapping[str, int], *, num_records: int, num_groups: int
    ) -> Split:
        """Computes the class weights of the multilabel task.

        Args:
            present: finding → number of images in which it is present.
            known: finding → number of images of which it is known.
            num_records: the number of images.
            num_groups: the number of patients.
        """
        weights = {name: known[name] / (2 * n) if n else None for name, n in present.items()}
        return cls(num_records, dict(present), weights, num_groups, dict(known))


@dataclass(frozen=True)
class Manifest:
    """The manifest: counts, options and all shards of a dataset.

    Attributes:
        options: the options that shape the records (sizes, equalization, encoding, fractions); no path of this machine.
        num_near_duplicates: the number of pairs of records that look the same; both are in the same split.
        pixels: image size in px (as text) → `mean` and `std` of the training pixels, in 0..255; None without images.
        sizes: image size in px (as text) → split → shards in order. All sizes have the same records in the same shards.
        software: the versions of the software that made the dataset.
        patients: what told the patient (see `patient_groups`) → the number of images; empty in older datasets.
        warnings: what the user should know before a training, a text for each.
        num_repaired: the number of images whose file lacked its last bytes but no pixel.
        input_counts: the numbers of input files that are left out, pooled or suspect.
        pictures: `on` or `off` if the user said so; `auto` to show pictures on pages unless the dataset is anonymous.
        class_names: the names of the classes or findings; the index is the label.
        task: what the labels of an image say, see `schema.TASKS`.
        domains: domain (empty for images whose domain is not known) → split → class name → number of images; empty if
            no domain is known.
        cooccurrence: finding → finding → number of images of all splits in which both are present; for the multilabel
            task only.
    """

    num_inputs: int
    num_records: int
    num_duplicates: int
    num_rejected: int
    num_near_duplicates: int
    rejected_by_reason: dict[str, int]
    options: dict[str, Any]
    splits: dict[str, Split]
    pixels: dict[str, dict[str, float] | None]
    sizes: dict[str, dict[str, list[Shard]]]
    software: dict[str, str] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    num_repaired: int = 0
    input_counts: InputCounts = field(default_factory=dict)
    pictures: str = "auto"
    class_names: tuple[str, ...] = CLASS_NAMES
    task: str = BINARY
    domains: DomainCounts = field(default_factory=dict)
    cooccurrence: dict[str, dict[str, int]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def labels(self) -> LabelSpace:
        """The task and the class names, which say what the labels of a record mean."""
        return LabelSpace(self.class_names, self.task)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 (hex) of the manifest without what only informs: equal for equal records and options."""
        left_out = INFORMATION if self.schema_version > 1 else (*INFORMATION, *SINCE_VERSION_2)
        content = {key: value for key, value in self._content().items() if key not in left_out}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """The sizes in the dataset, px, ascending."""
        return tuple(sorted(int(size) for size in self.sizes))

    @property
    def shows_pictures(self) -> bool:
        """True if the pages of the dataset, and of runs that are evaluated on it, show its images."""
        return self.pictures == "on" or (self.pictures == "auto" and not self.options.get("anonymize"))

    def shards(self, image_px: int, split: str) -> list[Shard]:
        """Returns the shards of one split at one size, in order; empty for a split without records.

        Raises:
            UsageError: the dataset does not hold this size.
        """
        if str(image_px) not in self.sizes:
            held = ", ".join(map(str, self.image_sizes))
            raise UsageError(
                f"image size {image_px} px is not in the dataset, which holds {held} px; "
                f"choose one of these, or prepare again with --image_sizes {image_px}"
            )
        return self.sizes[str(image_px)].get(split, [])

    def write(self, dataset: str | AnyPath) -> None:
        """Writes `manifest.json`; from then on the folder is a dataset."""
        content = {"schema_version": self.schema_version, "fingerprint": self.fingerprint, **self._content()}
        write_text(to_path(dataset) / MANIFEST_NAME, json.dumps(content, indent=2) + "\n")

    def _content(self) -> dict[str, Any]:
        """Returns the entries as JSON holds them; those of the multilabel task are left out for other tasks."""
        content = asdict(self)
        if not self.labels.is_multilabel:
            del content["cooccurrence"]
            for split in content["splits"].values():
                del split["known_counts"]
        return content

    @classmethod
    def read(cls, dataset: str | ReadablePath) -> Manifest:
        """Reads and checks `manifest.json`.

        Raises:
            UsageError: a link leads out of the folder (see `check_contained`), the manifest is missing, of another
                schema, or its fingerprint does not match its content.
        """
        folder = to_readable(dataset)
        check_contained(folder, MANIFEST_NAME)
        path = folder / MANIFEST_NAME
        try:
            content = read_json(path, anything)
        except (FileNotFoundError, NotADirectoryError):
            found = "a folder without it" if folder.is_dir() else "no such folder"
            raise UsageError(
                f"{dataset}: expected a dataset (a folder with {MANIFEST_NAME}), found {found}; "
                f"make one with: cxrflow prepare --input IMAGES --output {quote(str(dataset))}"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: not readable: {error}") from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version not in READABLE_VERSIONS:
            readable = " and ".join(map(str, READABLE_VERSIONS))
            raise UsageError(f"{path}: schema version {version}, this program reads {readable}; prepare again")
        try:
            check_manifest(content)
            fingerprint = content.pop("fingerprint")
            splits = {name: Split(**split) for name, split in content.pop("splits").items()}
            sizes = {
                size: {split: [Shard(**shard) for shard in shards] for split, shards in by_split.items()}
                for size, by_split in content.pop("sizes").items()
            }
            class_names = tuple(content.pop("class_names"))
            manifest = cls(**content, splits=splits, sizes=sizes, class_names=class_names)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: not a manifest of schema {version}: {error}; prepare again") from None
        if manifest.fingerprint != fingerprint:
            raise UsageError(f"{path}: its content does not match its fingerprint; it was edited: prepare again")
        return manifest
