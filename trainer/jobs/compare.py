"""Compares finished runs on the same images, and computes their paired differences to the first run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY
from beam_prep.storage.paths import to_path
from trainer.evaluation.predictions import external_split, read_predictions
from trainer.report.comparison_page import Compared
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard
from trainer.run.speed import splits_of
from trainer.statistics.averages import average_difference
from trainer.statistics.differences import adjust_p_values, paired_difference


def compare(paths: Sequence[str], split: str, *, allow_different: bool = False) -> list[Compared]:
    """Reads the results of runs and compares every run with the first.

    Args:
        paths: run folders, two or more.
        split: split whose results are compared.
        allow_different: accept runs that were evaluated on other images; they have no difference.

    Raises:
        UsageError: a folder holds no finished run or no results on the split, or the images differ.
    """
    runs = [_read(path, split, paths) for path in paths]
    first = runs[0]
    compared = [first]
    for run in runs[1:]:
        differs = _describe_difference(first, run)
        if differs and not allow_different:
            raise UsageError(
                f"{first.place} and {run.place} can't be compared on {split}: {differs}; evaluate both on one dataset, "
                "or add --allow_different to see them side by side without a difference"
            )
        difference = None
        if not differs:
            ours = first.predictions
            theirs = run.predictions.probabilities_of(ours.filenames)
            if ours.task == BINARY:
                difference = paired_difference(ours.labels, ours.probabilities, theirs, ours.groups)
            else:
                difference = average_difference(ours.truths, ours.probabilities, theirs, ours.groups)
        compared.append(replace(run, same_images=not differs, difference=difference))
    differences = [run.difference for run in compared if run.difference]
    adjusted = iter(adjust_p_values([difference.p_value for difference in differences]))
    return [replace(run, adjusted_p=next(adjusted)) if run.difference else run for run in compared]


def _read(path: str, split: str, paths: Sequence[str]) -> Compared:
    run = RunFolder.at(path).fetch("*.json", "*.csv")
    model, metrics = ModelCard.read(run), run.read_json("metrics")
    external = {external_split(name): values for name, values in metrics.get("external", {}).items()}
    numbers = {**splits_of(metrics), **external}
    predictions = read_predictions(run.path, split, model.class_names)
    if split not in numbers or predictions is None:
        known = ", ".join(numbers) or "none"
        raise UsageError(f"{path}: expected results on {split}, found {known}; choose --split, or evaluate it first")
    names = [to_path(other).resolve().name for other in paths]
    name = run.path.resolve().name
    name = name if names.count(name) == 1 else path
    return Compared(run.path, name, model, numbers[split], predictions, place=path)


def _describe_difference(first: Compared, run: Compared) -> str:
    """Says how the images of two runs or their classes differ; empty if both were evaluated on the same images."""
    of_first, of_run = ((each.card.task, *each.card.class_names) for each in (first, run))
    if of_first != of_run:
        return f"their classes differ ({', '.join(of_first[1:])} and {', '.join(of_run[1:])})"
    ours, theirs = (
        set(
            zip(
                each.predictions.filenames,
                each.predictions.groups,
                map(repr, each.predictions.labels.tolist()),
                strict=True,
            )
        )
        for each in (first, run)
    )
    if ours != theirs:
        return f"of {len(ours)} and {len(theirs)} images, only {len(ours & theirs)} are the same ones"
    prints = [each.card.dataset_fingerprint[:12] for each in (first, run)]
    return f"their datasets differ (fingerprints {prints[0]}… and {prints[1]}…)" if prints[0] != prints[1] else ""
