"""Chooses what a tracking service is told of a training: parameters, final numbers, tags and files.

No image, no patient and no login is among them but on the page of the run, which shows what the dataset lets it show.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beam_prep.console.distribution import ROOT
from trainer.config.tracking_uri import without_login
from trainer.run.folder import RunFolder

LEFT_OUT = ("track", "track_uri", "precision", "jit_compile", "mixed_precision")
"""The flags that are no parameters: those of tracking, and those that `computed` tells as they were chosen."""

FILES = ("report.html", "metrics.json", "history.csv", "config.json", "model.json")
"""The files of a run that become artifacts. Predictions do not: they name images and patients."""


def params_of(flags: Mapping[str, Any], **effective: Any) -> dict[str, str]:
    """Returns the parameters of a training: its flags, with the values that it uses where a flag leaves them open.

    Args:
        flags: the content of `config.json`.
        effective: flag → the value that is used.
    """
    values = {name: value for name, value in flags.items() if name not in LEFT_OUT} | effective
    return {name: without_login(str(value)) for name, value in values.items()}


def metrics_of(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Returns the final numbers as a flat table: `test/auroc`, `test/PNEUMONIA/auroc`, `external/NAME/auroc`, ….

    Args:
        numbers: the content of `metrics.json`. Intervals become `…_ci95_low` and `…_ci95_high`; subgroups and
            perturbed images stay in that file.
    """
    flat: dict[str, float] = {}
    for split, values in numbers.items():
        sets = {f"external/{name}": each for name, each in values.items()} if split == "external" else {split: values}
        for place, of_set in sets.items():
            flat |= _flat(place, of_set)
    return flat


def _flat(place: str, values: Mapping[str, Any]) -> dict[str, float]:
    flat = {f"{place}/{name}": value for name, value in _numbers(values)}
    for name, of_class in {**values.get("classes", {}), **_by_class(values)}.items():
        flat |= {f"{place}/{_part(name)}/{metric}": value for metric, value in _numbers(of_class)}
    return flat


def _by_class(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns precision, recall and F1 of each of two classes, by its name."""
    report = values.get("classification_report") or {}
    averages = ("accuracy", "macro avg", "weighted avg")
    return {name: each for name, each in report.items() if name not in averages and isinstance(each, Mapping)}


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields the finite numbers of a mapping, the bounds of its intervals, and the cells of two classes."""
    for name, value in values.items():
        if name.endswith("_ci95") and value:
            yield from zip((f"{name}_low", f"{name}_high"), value, strict=True)
        elif name == "confusion_matrix" and isinstance(value, Mapping):
            yield from ((f"{name}_{cell}", float(count)) for cell, count in value.items())
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def _part(name: str) -> str:
    """Returns the name of a class as a part of the name of a number: MLflow takes few characters and no `..`."""
    return re.sub(r"[^\w \-]", "_", name, flags=re.ASCII)[:100].strip() or "_"


def tags_of(dataset_fingerprint: str, versions: Mapping[str, str], command: str) -> dict[str, str]:
    """Returns the tags of a run: its dataset, the versions of its software, and the commit of a checkout."""
    commit = commit_of(ROOT)
    return {
        "dataset_fingerprint": dataset_fingerprint,
        **{f"version.{name}": version for name, version in versions.items()},
        "mlflow.source.name": command,
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }


def commit_of(folder: Path) -> str | None:
    """Returns the commit of a folder that is a checkout of its own; None if it is none, or git is missing."""
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD", "--show-toplevel"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    commit, _, top = told.strip().partition("\n")
    return commit if Path(top).resolve() == folder.resolve() else None


def files_of(folder: RunFolder) -> dict[str, Path]:
    """Returns the files of a finished run that become artifacts, by their paths there."""
    return {name: folder.path / name for name in FILES if (folder.path / name).is_file()}
