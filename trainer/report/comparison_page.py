"""Runs side by side on the same images: numbers, the paired difference to the first run, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.pages.page import render, write_page
from beam_prep.storage.paths import AnyPath, to_path
from trainer.evaluation.bootstrap import PAIRED_SAMPLES, Difference, paired_difference
from trainer.evaluation.predictions import Predictions, read_predictions
from trainer.report.curves import SPLIT_NAMES, curves_of_runs, roc_of_runs
from trainer.report.published import STUDY
from trainer.run.folder import RunFolder, read_history
from trainer.run.model_card import ModelCard

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
    """One run in a comparison.

    Attributes:
        path: of the run.
        name: of its folder, or the whole path where two folders have one name.
        model: the model card of the run.
        numbers: of the split, from its `metrics.json`.
        predictions: of the split.
        same_images: as the first run was evaluated on, prepared in the same dataset.
        difference: None for the first run, where the images are others, or of one class.
        place: of the run, as the user names it.
    """

    path: Path
    name: str
    model: ModelCard
    numbers: dict[str, Any]
    predictions: Predictions
    same_images: bool = True
    difference: Difference | None = None
    place: str = ""


def compare(paths: Sequence[str], split: str, *, allow_different: bool = False) -> list[Compared]:
    """Reads runs and compares each with the first.

    Args:
        paths: of two runs or more.
        split: whose results.
        allow_different: takes runs that were evaluated on other images, without a difference.

    Raises:
        UsageError: a folder holds no finished run or no results on the split, or other images were evaluated.
    """
    runs = [_read(path, split, paths) for path in paths]
    first = runs[0]
    compared = [first]
    for run in runs[1:]:
        differs = _what_differs(first, run)
        if differs and not allow_different:
            raise UsageError(
                f"{first.place} and {run.place} can't be compared on {split}: {differs}; evaluate both on one dataset, "
                "or add --allow_different to see them side by side without a difference"
            )
        difference = None if differs else paired_difference(first.predictions, run.predictions)
        compared.append(replace(run, same_images=not differs, difference=difference))
    return compared


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
        split_name=SPLIT_NAMES[split],
        columns=COLUMNS,
        study=STUDY,
        num_resamples=PAIRED_SAMPLES,
        roc=roc_of_runs([(run.name, run.predictions, run.numbers) for run in runs]),
        curves=curves_of_runs([(run.name, read_history(run.path)) for run in runs]),
    )
    try:
        write_page(path, html)
    except OSError as error:
        raise UsageError(f"--output {path}: can't be written: {error.strerror}") from None
    return path


def _read(path: str, split: str, paths: Sequence[str]) -> Compared:
    run = RunFolder.at(path).fetch("*.json", "*.csv")
    model, numbers = ModelCard.read(run), run.read_json("metrics")
    predictions = read_predictions(run.path, split)
    if split not in numbers or predictions is None:
        known = ", ".join(numbers) or "none"
        raise UsageError(f"{path}: expected results on {split}, found {known}; choose --split, or evaluate it first")
    names = [to_path(other).resolve().name for other in paths]
    name = run.path.resolve().name
    name = name if names.count(name) == 1 else path
    return Compared(run.path, name, model, numbers[split], predictions, place=path)


def _what_differs(first: Compared, run: Compared) -> str:
    """Why two runs were not evaluated on the same images; empty if they were."""
    ours, theirs = (
        set(zip(each.predictions.filenames, each.predictions.groups, each.predictions.labels.tolist(), strict=True))
        for each in (first, run)
    )
    if ours != theirs:
        return f"of {len(ours)} and {len(theirs)} images, only {len(ours & theirs)} are the same ones"
    prints = [each.model.dataset_fingerprint[:12] for each in (first, run)]
    return f"their datasets differ (fingerprints {prints[0]}… and {prints[1]}…)" if prints[0] != prints[1] else ""
