"""Writes the results of a run: predictions, numbers and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.predictions import external_split, write_predictions
from trainer.report.run_page import write_report
from trainer.report.samples import Sample
from trainer.run.folder import RunFolder
from trainer.run.model_card import OperatingPoint


def publish(
    folder: RunFolder,
    evaluations: Sequence[Evaluation],
    samples: Sequence[Sample],
    *,
    external: Sequence[Evaluation] = (),
    speed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the predictions, then `metrics.json`, then the page; numbers of other splits in `metrics.json` stay.

    Args:
        folder: the run folder.
        evaluations: one for each split.
        samples: images for the page, see `read_samples`.
        external: one for each set of another source, whose name is the split.
        speed: the speed of the training, see `SpeedMeter.to_json`; None keeps that of `metrics.json`.

    Returns:
        The content of `metrics.json`.
    """
    numbers = folder.read_json("metrics") if (folder.path / "metrics.json").exists() else {}
    splits = [(each.split, each) for each in evaluations]
    for split, evaluation in [*splits, *((external_split(each.split), each) for each in external)]:
        write_predictions(folder, split, evaluation.predictions, point=OperatingPoint.of(evaluation.numbers))
    numbers |= {split: each.numbers for split, each in splits}
    if external:
        numbers["external"] = numbers.get("external", {}) | {each.split: each.numbers for each in external}
    if speed is not None:
        numbers["speed"] = speed
    folder.write_json("metrics", numbers)
    write_report(folder.path, samples)
    return numbers
