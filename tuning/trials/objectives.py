"""Checks that the objective of a search, and the flags of its trials, have a meaning for a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from beam_prep.dataset.trainable import advise_on_images
from trainer.config.threshold_rule import parse_rule
from trainer.data.checks import check_task, has_auroc
from tuning.config import SearchConfig

BOTH_CLASSES = ("val_auroc", "val_auprc", "val_sensitivity", "val_specificity")
"""The objectives that are undefined on validation images of a single class."""

OBJECTIVES = {
    MULTICLASS: ("val_auroc", "val_auprc", "val_accuracy", "val_loss", "external_auroc"),
    MULTILABEL: ("val_auroc", "val_auprc", "val_loss", "external_auroc"),
}
"""The objectives of the other tasks; that of two classes has all of them."""


def check_flags(manifest: Manifest, config: SearchConfig, flags: Mapping[str, Any]) -> None:
    """Checks that the objective and the flags that all trials share have a meaning for the task of a dataset.

    Args:
        manifest: the manifest of the dataset.
        config: the flags of the search.
        flags: the flags of `train` that all trials share.

    Raises:
        UsageError: one of them has none.
    """
    names = ("threshold_rule", "prevalence", "select_by")
    check_task(manifest, **{name: flags[name] for name in names})
    defined = OBJECTIVES.get(manifest.task, (config.objective,))
    if config.objective not in defined:
        raise UsageError(
            f"--objective {config.objective}: a {manifest.task} dataset has none; choose one of: {', '.join(defined)}"
        )
    rule = flags["threshold_rule"]
    if config.retrain_best and manifest.task == MULTILABEL and parse_rule(rule).kind != "fixed":
        raise UsageError(
            f"--retrain_best with --threshold_rule {rule} would lose the thresholds of the findings, as it leaves no "
            "images to choose them on; use --retrain_seeds, or a probability as the rule"
        )


def check_objective(manifest: Manifest, objective: str) -> None:
    """Raises a `UsageError` if the validation images of a dataset do not define an objective."""
    if objective in BOTH_CLASSES and not has_auroc([manifest.splits["val"]]):
        raise UsageError(
            f"--objective {objective} needs validation images of both classes, found "
            f"{manifest.splits['val'].class_counts}; choose val_loss or val_accuracy; otherwise "
            f"{advise_on_images(manifest.splits)}"
        )
