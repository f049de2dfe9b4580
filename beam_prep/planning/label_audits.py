"""Audits each label of a dataset for shortcuts, and writes and reads the results. Standard library only.

The two classes of the binary task are audited against each other. Of other tasks, the images of each class are audited
against all others of which it is known that they are not of the class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from beam_prep.dataset.manifest import AUDIT_NAME
from beam_prep.dataset.schema import BINARY, PRESENT, UNKNOWN, LabelSpace
from beam_prep.planning.outcomes import Prepared
from beam_prep.planning.shortcut_audit import Audit, make_audit
from beam_prep.storage.atomic import write_text
from beam_prep.storage.json_schema import entries, list_of, mapping_of, nullable, number, read_json, text, whole
from beam_prep.storage.paths import AnyPath, to_path

REST = "all others"
"""The name of the images that are not of a class, where the class is audited against them."""

_COUNTS = mapping_of(whole())
_AUROC = nullable(number(0, 1))
_HISTOGRAM = entries({"start": number(), "step": number(), "counts": mapping_of(list_of(whole(), most=1000))})
_SHORTCUT = entries(
    {
        "auroc": _AUROC,
        "higher_in": nullable(text()),
        "auroc_by_range": _AUROC,
        "note": nullable(text()),
        "num_without": _COUNTS,
        "histogram": _HISTOGRAM,
    }
)
_AUDIT = entries(
    {"num_images": _COUNTS, "num_groups": _COUNTS, "chance_auroc": _AUROC, "shortcuts": mapping_of(_SHORTCUT)}
)
_AUDITS = entries({"by_class": mapping_of(_AUDIT)})
"""The checks of `audit.json` of the binary task, and of other tasks."""


@dataclass(frozen=True)
class LabelAudits:
    """The shortcut audits of a dataset.

    Attributes:
        by_class: class name → the audit of its images against all others. The binary task has one, of its second class
            against its first.
        is_binary: True for the binary task.
    """

    by_class: dict[str, Audit]
    is_binary: bool

    @property
    def binary(self) -> Audit | None:
        """The audit of the binary task; None for other tasks."""
        return next(iter(self.by_class.values())) if self.is_binary else None

    def write(self, dataset: str | AnyPath) -> None:
        """Writes `audit.json` into a dataset, whole or not at all."""
        by_class = {name: asdict(audit) for name, audit in self.by_class.items()}
        content = next(iter(by_class.values())) if self.is_binary else {"by_class": by_class}
        write_text(to_path(dataset) / AUDIT_NAME, json.dumps(content) + "\n")

    @classmethod
    def read(cls, dataset: str | AnyPath, labels: LabelSpace) -> LabelAudits | None:
        """Reads the `audit.json` of a dataset; returns None if it is absent or not valid."""
        is_binary = labels.task == BINARY
        try:
            content = read_json(to_path(dataset) / AUDIT_NAME, _AUDIT if is_binary else _AUDITS)
            by_class = {labels.class_names[-1]: content} if is_binary else content["by_class"]
            return cls({name: Audit.from_json(by_class[name]) for name in by_class}, is_binary)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def make_audits(images: Sequence[Prepared], labels: LabelSpace) -> LabelAudits:
    """Audits the records of a dataset for each label.

    Args:
        images: the images that are records, in any order.
        labels: the task and the class names.
    """
    if labels.task == BINARY:
        rows = ((image.label, image.group_rank, image.stats) for image in images)
        return LabelAudits({labels.class_names[1]: make_audit(rows, labels.class_names)}, is_binary=True)
    by_class = {}
    for index, name in enumerate(labels.class_names):
        values = (labels.vector(image.label, image.findings)[index] for image in images)
        rows = (
            (int(value == PRESENT), image.group_rank, image.stats)
            for image, value in zip(images, values, strict=True)
            if value != UNKNOWN
        )
        by_class[name] = make_audit(rows, (REST, name))
    return LabelAudits(by_class, is_binary=False)
