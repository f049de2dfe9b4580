"""Writes the page that compares runs on the same images: numbers, differences to the first run, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.pages.page import render, write_page
from beam_prep.storage.output_folder import translate_errors
from beam_prep.storage.paths import AnyPath
from trainer.evaluation.predictions import Predictions
from trainer.report.curves import SPLIT_NAMES, curves_of_runs, roc_of_runs
from trainer.report.published_results import STUDY
from trainer.run.folder import read_history
from trainer.run.model_card import ModelCard
from trainer.statistics.differences import Difference

COLUMNS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "loss": "Loss",
    "brier": "Brier score",
    "ece": "ECE",
}


@dataclass(frozen=True)
class Compared:
    """A run in a comparison, and its results on one split.

    Attributes:
        path: folder of the run on this machine.
        name: name of the folder, or the whole path where two folders have one name.
        card: the model card of the run.
        numbers: the entry of the split in `metrics.json`.
        predictions: the predictions of the split.
        same_images: True if the run was evaluated on the images of the first run, prepared in the same dataset.
        difference: to the first run; None for the first run, and if the images are other ones or of one class.
        place: the folder as the user names it.
        adjusted_p: the p value of the difference, corrected for the number of runs that are compared; None without one.
    """

    path: Path
    name: str
    card: ModelCard
    numbers: dict[str, Any]
    predictions: Predictions
    same_images: bool = True
    difference: Difference | None = None
    place: str = ""
    adjusted_p: float | None = None


def write_comparison(runs: Sequence[Compared], split: str, path: AnyPath) -> AnyPath:
    """Writes the page of a comparison; the same runs give the same bytes.

    Raises:
        UsageError: the file can't be written.
    """
    html = render(
        "trainer.report",
        "compare.html.j2",
        runs=runs,
        split=split,
        split_name=SPLIT_NAMES.get(split, split),
        columns={key: title for key, title in COLUMNS.items() if any(key in run.numbers for run in runs)},
        study=STUDY if all(tuple(run.card.class_names) == CLASS_NAMES for run in runs) else (),
        class_names=[
            name for name in runs[0].card.class_names if all(name in run.numbers.get("classes", {}) for run in runs)
        ],
        num_differences=sum(run.difference is not None for run in runs),
        roc=roc_of_runs([(run.name, run.predictions, run.numbers) for run in runs]),
        curves=curves_of_runs([(run.name, read_history(run.path)) for run in runs]),
    )
    with translate_errors(path):
        write_page(path, html)
    return path
