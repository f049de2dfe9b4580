"""Measures how much the metrics of a model drop on perturbed images, by kind and level of the perturbation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import tensorflow as tf

from beam_prep.console.progress import progress_bar
from beam_prep.dataset.schema import BINARY
from trainer.data.splits import SplitSource
from trainer.evaluation.class_metrics import measure_part
from trainer.evaluation.evaluate import BATCH_SIZE, Evaluation, predict_split
from trainer.evaluation.metrics import measure_decisions
from trainer.evaluation.perturbations import Perturbation, perturb, perturbations_for
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.run.model_card import OperatingPoint
from trainer.statistics.averages import average_difference
from trainer.statistics.differences import paired_difference


def with_robustness(
    evaluation: Evaluation,
    predictor: Predictor,
    source: SplitSource,
    *,
    equalization: str,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Evaluation:
    """Evaluates a model on perturbed images and adds the result to its evaluation.

    Args:
        evaluation: the evaluation on the unchanged images of the split.
        predictor: the predictor of the same model.
        source: the records of the same split.
        equalization: the equalization of the records.
        batch_size: images a step; does not change the result.
        seed: see `perturb`.

    Returns:
        The evaluation with `robustness` among its numbers: a list with an entry for each perturbation.
    """
    perturbations = perturbations_for(equalization)
    rows = []
    with progress_bar(f"robustness {evaluation.split}", len(perturbations), unit="perturbations") as bar:
        for perturbation in perturbations:
            change = partial(_changed, perturbation=perturbation, equalization=equalization, seed=seed)
            perturbed = predict_split(
                predictor, source, evaluation.split, batch_size=batch_size, change=change, show_progress=False
            )
            rows.append(_measure(perturbation, perturbed, evaluation))
            bar.update()
    return replace(evaluation, numbers={**evaluation.numbers, "robustness": rows})


def _changed(
    batch: dict[str, tf.Tensor], perturbation: Perturbation, equalization: str, seed: int
) -> dict[str, tf.Tensor]:
    names = [name.decode() for name in batch["filenames"].numpy()]
    images = perturb(batch["images"].numpy(), names, perturbation, equalization=equalization, seed=seed)
    return {**batch, "images": tf.constant(images)}


def _measure(perturbation: Perturbation, perturbed: Predictions, clean: Evaluation) -> dict[str, Any]:
    """Returns the entry of one perturbation in `metrics.json`; a metric that is not defined is None.

    The difference is the AUROC of the perturbed images less that of the unchanged ones, over the same patients;
    sensitivity and specificity are at the threshold of the run. The AUROC of several classes is their mean; they have
    neither sensitivity nor specificity.
    """
    before = clean.predictions.probabilities_of(perturbed.filenames)
    if perturbed.task == BINARY:
        difference = paired_difference(perturbed.labels, before, perturbed.probabilities, perturbed.groups)
        called = perturbed.called(OperatingPoint.of(clean.numbers))
        numbers = measure_decisions(perturbed.labels, perturbed.probabilities, perturbed.groups, called)
        numbers = {name: numbers[name] for name in ("auroc", "auroc_ci95", "sensitivity", "specificity")}
    else:
        difference = average_difference(perturbed.truths, before, perturbed.probabilities, perturbed.groups)
        numbers = measure_part(perturbed, OperatingPoint.of(clean.numbers))
    return {
        "kind": perturbation.kind,
        "level": perturbation.level,
        **numbers,
        "auroc_difference": difference.value if difference else None,
        "auroc_difference_ci95": difference.ci95 if difference else None,
    }
