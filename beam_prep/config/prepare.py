"""Checks the flags of `prepare`, and tells which of them shape the records. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_prep.config.prepare_flags import PrepareFlags
from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path

SALT_FLAGS = "--salt_file FILE names a secret one, --public_salt takes the one that everybody knows"
"""The advice where a job must name the salt of its hashes."""

AUTO = "auto"
"""The value of `--classes` that takes the classes from the input."""
MAX_CLASSES = 100
"""The largest number of classes or findings."""


def check_class_names(names: Sequence[str]) -> None:
    """Raises a `UsageError` if names of classes or findings can't be those of a dataset."""
    for name in names:
        if not name.strip() or name != name.strip() or len(name) > 64 or not name.isprintable() or "|" in name:
            raise UsageError(f"--classes {name!r}: expected at most 64 letters in one line, without |")
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(f"--classes {' '.join(names)}: expected different names, also in small letters")
    if len(names) > MAX_CLASSES:
        raise UsageError(f"--classes: expected at most {MAX_CLASSES} names, found {len(names)}")


@dataclass(frozen=True)
class PrepConfig(PrepareFlags):
    """Equalize, resize and shard images into TFRecords (Apache Beam).

    DICOM, JPEG, PNG, TIFF, BMP, GIF, WebP and JPEG 2000 images, whatever their suffix, are read from class folders
    (NORMAL, PNEUMONIA; see --classes) anywhere below the input; the images of a `test` folder become the test set.
    Beam's own options may follow, e.g. --runner DirectRunner --direct_num_workers 2.
    """

    def __post_init__(self) -> None:
        for place in (self.input, self.output):
            to_path(place)
        if not self.image_sizes:
            raise UsageError("--image_sizes is empty; give at least one size in px, e.g. --image_sizes 90")
        for size in self.image_sizes:
            if not 16 <= size <= 4096:
                raise UsageError(f"--image_sizes {size}: expected 16 to 4096 px")
        object.__setattr__(self, "image_sizes", tuple(sorted(set(self.image_sizes))))
        object.__setattr__(self, "subgroups", tuple(sorted(set(self.subgroups))))
        self._check_labels()
        if self.metadata_csv is None and self.domain_column != type(self).domain_column:
            raise UsageError(f"--domain_column {self.domain_column} names a column of --metadata_csv, which is missing")
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"--val_fraction is {self.val_fraction}; expected between 0 and 1, e.g. 0.2")
        if not 0 <= self.test_fraction < 1:
            raise UsageError(f"--test_fraction is {self.test_fraction}; expected 0 or more and less than 1, e.g. 0.1")
        if not 0 <= self.max_rejected_fraction <= 1:
            raise UsageError(f"--max_rejected_fraction is {self.max_rejected_fraction}; expected 0 to 1, e.g. 0.05")
        if not 0 <= self.max_blank_fraction <= 1:
            raise UsageError(f"--max_blank_fraction is {self.max_blank_fraction}; expected 0 to 1, e.g. 0.99")
        if not self.max_seconds_per_image > 0:
            raise UsageError(f"--max_seconds_per_image is {self.max_seconds_per_image}; expected more than 0, e.g. 60")
        if self.group_regex is not None:
            try:
                re.compile(self.group_regex)
            except re.error as error:
                raise UsageError(f"--group_regex {self.group_regex}: {error}") from None
            if self.group_from != "names":
                raise UsageError(f"--group_from {self.group_from} and --group_regex both tell patients; leave one out")
        if self.public_salt and self.salt_file is not None:
            raise UsageError(f"--public_salt and --salt_file {self.salt_file}: two salts; leave one out")
        if self.num_shards < 0:
            raise UsageError(f"--num_shards is {self.num_shards}; expected 0 (pick by size) or more")

    def _check_labels(self) -> None:
        """Raises a `UsageError` if the flags of labels are wrong or do not go together."""
        names = self.classes or self.label_columns
        check_class_names(names)
        if AUTO in names and len(names) > 1:
            raise UsageError(f"--classes {' '.join(names)}: auto stands alone, it takes the classes that are there")
        if self.label_columns and AUTO not in names and len(self.label_columns) != len(names):
            raise UsageError(f"--label_columns names {len(self.label_columns)} columns for {len(names)} --classes")
        if self.metadata_csv is None and (self.label_column or self.label_columns):
            flag = "--label_column" if self.label_column else "--label_columns"
            raise UsageError(f"{flag} names columns of --metadata_csv, which is missing")
        if self.label_regex is not None:
            try:
                re.compile(self.label_regex)
            except re.error as error:
                raise UsageError(f"--label_regex {self.label_regex}: {error}") from None
        if self.layout != "folders":
            return  # the labels of the set decide what goes together, see `resolve_labels`
        if self.task == "multilabel" or (self.task == "auto" and self.label_columns):
            self._check_findings()
        else:
            self._check_number(len(names) or 2)

    def _check_number(self, number: int) -> None:
        """Raises a `UsageError` if the number of the classes is wrong, where one class is true of an image."""
        if wrong := [name for name in ("label_columns", "uncertain") if self._is_given(name)]:
            raise UsageError(f"--{wrong[0]} is for findings; add --task multilabel")
        expected = {"binary": number == 2, "multiclass": number > 2}.get(self.task, number > 1)
        if AUTO not in self.classes and not expected:
            numbers = {"binary": "2", "multiclass": "3 or more"}.get(self.task, "2 or more")
            raise UsageError(
                f"--task {self.task}: expected {numbers} --classes, found {number}; --task multilabel takes any number"
            )

    def _check_findings(self) -> None:
        """Raises a `UsageError` if flags do not go with the multilabel task."""
        if not (self.classes or self.label_columns):
            raise UsageError("--task multilabel: name the findings by --classes (or auto) or by --label_columns")
        if self.metadata_csv is None:
            raise UsageError("--task multilabel: the findings come from a table; name it by --metadata_csv")
        if self.label_columns and (AUTO in self.classes or self.label_column or self.label_map):
            raise UsageError("--label_columns does not go with --classes auto, --label_column or --label_map")
        if self.label_regex is not None:
            raise UsageError("--label_regex: an image has one class for it; leave it out with --task multilabel")

    def _is_given(self, name: str) -> bool:
        """Returns True if a flag has another value than its default."""
        return bool(getattr(self, name) != getattr(type(self), name))

    def shaping_options(self) -> dict[str, Any]:
        """Returns the options that shape the records and their splits, for the manifest: no path and no salt.

        Those of the labels are left out, see `LabelRule.options`.
        """
        options = {
            "image_sizes": list(self.image_sizes),
            "equalization": self.equalization,
            "encoding": self.encoding,
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "stratify": self.stratify,
            "group_regex": self.group_regex,
            "num_shards": self.num_shards,
            "anonymize": self.anonymize,
        }
        # Flags that came later are named only where they change something: fingerprints of datasets stay as they were.
        later = (
            "keep_splits",
            "group_from",
            "unknown_patient",
            "max_blank_fraction",
            "max_seconds_per_image",
            "stratify_domains",
            "subgroups",
            "fit",
            "layout",
        )
        changed = {name: getattr(self, name) for name in later if getattr(self, name) != getattr(type(self), name)}
        return options | {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
