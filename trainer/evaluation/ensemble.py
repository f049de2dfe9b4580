"""Predicts with an ensemble: the mean probability of several models, and of each image and its mirror image.

Probabilities are averaged and not logits: a logit has no bound, so that a single overconfident network could outvote
all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from beam_prep.console.errors import RunError
from trainer.data.splits import SplitSource
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictions import Predictions, mean_logits
from trainer.evaluation.predictor import load_predictor


@dataclass(frozen=True)
class Member:
    """A model of an ensemble, with the records that it predicts.

    Attributes:
        model: the file of the model.
        sources: the records by split at the image size of the model; the same records for all models.
        tta: test-time augmentation: the mean over each image and its mirror image.
    """

    model: Path
    sources: Mapping[str, SplitSource]
    tta: bool = False


def predict_together(members: Sequence[Member], *, batch_size: int) -> dict[str, Predictions]:
    """Predicts every image of some splits with several models, one model in memory at a time.

    Args:
        members: the models.
        batch_size: images a step; does not change the result.

    Returns:
        Predictions by split, with the mean probabilities and their logits.

    Raises:
        UsageError: a file is missing or not a Keras model.
        RunError: the records can't be read or differ between the image sizes, or a model returns a logit that
            is not finite.
    """
    predicted: dict[str, list[Predictions]] = {}
    for member in members:
        task = next(iter(member.sources.values())).task
        predictor = load_predictor(member.model, tta=member.tta, task=task)
        for split, source in member.sources.items():
            predicted.setdefault(split, []).append(predict_split(predictor, source, split, batch_size=batch_size))
    return {split: _mean(of_split, split) for split, of_split in predicted.items()}


def _mean(members: Sequence[Predictions], split: str) -> Predictions:
    first = members[0]
    if any(member.filenames != first.filenames for member in members):
        raise RunError(f"the {split} records are not the same ones at all image sizes; see: cxrflow verify DATASET")
    logits = mean_logits(np.stack([member.logits for member in members]), first.task)
    made = Predictions.from_logits(
        first.filenames, first.groups, first.labels, logits, first.source_pixels, first.traits
    )
    return replace(made, class_names=first.class_names)
