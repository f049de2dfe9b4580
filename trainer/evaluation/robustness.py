"""How far a model falls when its images are spoilt, kind by kind and level by level."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import tensorflow as tf

from beam_prep.console.progress import progress_bar
from trainer.data.splits import SplitSource
from trainer.evaluation import metrics
from trainer.evaluation.bootstrap import paired_difference
from trainer.evaluation.evaluate import BATCH_SIZE, Evaluation, predict_split
from trainer.evaluation.perturbations import Perturbation, perturb, perturbations_for
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.run.model_card import OperatingPoint


def with_robustness(
    evaluation: Evaluation,
    predictor: Predictor,
    source: SplitSource,
    *,
    equalization: str,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Evaluation:
    """Evaluates spoilt images too.

    Args:
        evaluation: of the images as they are.
        predictor: of the same model.
        source: of the same split.
        equalization: that of the records.
        batch_size: images a step; does not change the result.
        seed: see `perturb`.

    Returns:
        The evaluation with `robustness` among its numbers: a list of one entry a perturbation, see `_measured`.
    """
    perturbations = perturbations_for(equalization)
    rows = []
    with progress_bar(f"robustness {evaluation.split}", len(perturbations), unit="perturbations") as bar:
        for perturbation in perturbations:
            change = partial(_changed, perturbation=perturbation, equalization=equalization, seed=seed)
            spoilt = predict_split(
                predictor, source, evaluation.split, batch_size=batch_size, change=change, show_progress=False
            )
            rows.append(_measured(perturbation, spoilt, evaluation))
            bar.update()
    return replace(evaluation, numbers={**evaluation.numbers, "robustness": rows})


def _changed(
    batch: dict[str, tf.Tensor], perturbation: Perturbation, equalization: str, seed: int
) -> dict[str, tf.Tensor]:
    names = [name.decode() for name in batch["filenames"].numpy()]
    images = perturb(batch["images"].numpy(), names, perturbation, equalization=equalization, seed=seed)
    return {**batch, "images": tf.constant(images)}


def _measured(perturbation: Perturbation, spoilt: Predictions, clean: Evaluation) -> dict[str, Any]:
    """Kind, level, and of the spoilt images AUROC, its difference to the clean ones on the same patients, each with its
    95 % interval, and the rates at the threshold of the run; None where not defined."""
    point = OperatingPoint.of(clean.numbers)
    numbers = metrics.evaluate(spoilt.labels, spoilt.probabilities, spoilt.groups, spoilt.loss(), point=point)
    found = paired_difference(clean.predictions, spoilt)
    return {
        "kind": perturbation.kind,
        "level": perturbation.level,
        **{name: numbers[name] for name in ("auroc", "auroc_ci95", "sensitivity", "specificity")},
        "auroc_difference": found.value if found else None,
        "auroc_difference_ci95": found.ci95 if found else None,
    }
