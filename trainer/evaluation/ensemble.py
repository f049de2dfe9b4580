"""Predicts with an ensemble: the mean probability of several models, and of each image and its mirror image.

Probabilities are averaged and not logits: a logit has no bound, so that a single overconfident network could outvote
all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from beam_prep.console.errors import RunError
from beam_prep.dataset.schema import BINARY, MULTICLASS
from trainer.data.splits import SplitSource
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import load_predictor


def predict_together(
    models: Sequence[tuple[Path, Mapping[str, SplitSource]]], *, tta: bool, batch_size: int
) -> dict[str, Predictions]:
    """Predicts every image of some splits with several models, one model in memory at a time.

    Args:
        models: for each model its file, and the records by split at its image size; the same records for all models.
        tta: test-time augmentation: the mean over each image and its mirror image.
        batch_size: images a step; does not change the result.

    Returns:
        Predictions by split, with the mean probabilities and their logits.

    Raises:
        UsageError: a file is missing or not a Keras model.
        RunError: the records can't be read or differ between the image sizes, or a model returns a logit that
            is not finite.
    """
    members: dict[str, list[Predictions]] = {}
    for path, sources in models:
        predictor = load_predictor(path)
        for split, source in sources.items():
            for mirror in (False, True) if tta else (False,):
                predictions = predict_split(predictor, source, split, batch_size=batch_size, mirror=mirror)
                members.setdefault(split, []).append(predictions)
    return {split: _mean(of_split, split) for split, of_split in members.items()}


def mean_logits(logits: np.ndarray, task: str = BINARY) -> np.ndarray:
    """Returns the logits of the mean probability; exact for probabilities near 0 and 1 too.

    Args:
        logits: float [M, N], of N images by M models; of several classes or findings float [M, N, K].
        task: what the logits mean, one of `schema.TASKS`.

    Returns:
        float [N] or [N, K].
    """
    from scipy.special import log_expit, log_softmax, logsumexp

    if task == MULTICLASS:
        return logsumexp(log_softmax(logits, axis=-1), axis=0)
    return logsumexp(log_expit(logits), axis=0) - logsumexp(log_expit(-logits), axis=0)


def _mean(members: Sequence[Predictions], split: str) -> Predictions:
    first = members[0]
    if any(member.filenames != first.filenames for member in members):
        raise RunError(f"the {split} records are not the same ones at all image sizes; see: cxrflow verify DATASET")
    logits = mean_logits(np.stack([member.logits for member in members]), first.task)
    made = Predictions.from_logits(
        first.filenames, first.groups, first.labels, logits, first.source_pixels, first.traits
    )
    return replace(made, class_names=first.class_names)
