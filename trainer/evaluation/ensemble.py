"""Several runs as one model, and each image together with its mirror image: the mean of their probabilities.

Probabilities and not logits are averaged: a logit has no bound, so that one network that is sure beyond measure would
outvote all others; no probability counts for more than one voice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from beam_prep.console.errors import RunError
from trainer.data.splits import SplitSource
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import load_predictor


def predict_together(
    models: Sequence[tuple[Path, Mapping[str, SplitSource]]], *, tta: bool, batch_size: int
) -> dict[str, Predictions]:
    """Predicts every image of some splits with several models, one model in memory at a time.

    Args:
        models: the file of each, and by split the records at its own image size; the same records for all.
        tta: test-time augmentation: each image counts half, its mirror image the other half.
        batch_size: images a step; does not change the result.

    Returns:
        By split, the logits of the mean probability.

    Raises:
        UsageError: a file is missing or not a Keras model.
        RunError: the records can't be read or differ between the image sizes, or a model gives no numbers.
    """
    votes: dict[str, list[Predictions]] = {}
    for path, sources in models:
        predictor = load_predictor(path)
        for split, source in sources.items():
            for mirror in (False, True) if tta else (False,):
                found = predict_split(predictor, source, split, batch_size=batch_size, mirror=mirror)
                votes.setdefault(split, []).append(found)
    return {split: _mean(members, split) for split, members in votes.items()}


def mean_logits(logits: np.ndarray) -> np.ndarray:
    """The logits of the mean probability, exact for the surest too.

    Args:
        logits: float [M, N], of M models.

    Returns:
        float [N].
    """
    from scipy.special import log_expit, logsumexp

    return logsumexp(log_expit(logits), axis=0) - logsumexp(log_expit(-logits), axis=0)


def _mean(members: Sequence[Predictions], split: str) -> Predictions:
    first = members[0]
    if any(member.filenames != first.filenames for member in members):
        raise RunError(
            f"the {split} records are not the same ones at all image sizes; see: python -m beam_prep verify DATASET"
        )
    logits = mean_logits(np.stack([member.logits for member in members]))
    return Predictions.from_logits(first.filenames, first.groups, first.labels, logits, first.source_pixels)
