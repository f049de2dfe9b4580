"""Writes the results of a run: predictions, numbers and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.predictions import write_predictions
from trainer.report.run_page import write_report
from trainer.report.samples import Sample
from trainer.run.folder import RunFolder


def publish(
    folder: RunFolder,
    evaluations: Sequence[Evaluation],
    samples: Sequence[Sample],
    *,
    speed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the predictions, then `metrics.json`, then the page; numbers of other splits in `metrics.json` stay.

    Args:
        folder: the run folder.
        evaluations: one for each split.
        samples: images for the page, see `read_samples`.
        speed: the speed of the training, see `SpeedMeter.to_json`; None keeps that of `metrics.json`.

    Returns:
        The content of `metrics.json`.
    """
    numbers = folder.read_json("metrics") if (folder.path / "metrics.json").exists() else {}
    for evaluation in evaluations:
        threshold, temperature = (evaluation.numbers[name] for name in ("threshold", "temperature"))
        write_predictions(
            folder, evaluation.split, evaluation.predictions, threshold=threshold, temperature=temperature
        )
        numbers[evaluation.split] = evaluation.numbers
    if speed is not None:
        numbers["speed"] = speed
    folder.write_json("metrics", numbers)
    write_report(folder.path, samples)
    return numbers
