"""Predicts a split with a model and measures the predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from beam_prep.console.progress import progress_bar
from beam_prep.dataset.schema import BINARY
from trainer.data.held_images import fits_device
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation import metrics
from trainer.evaluation.class_metrics import evaluate_classes
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor, check_finite
from trainer.evaluation.subgroups import by_trait
from trainer.run.model_card import OperatingPoint

BATCH_SIZE = 64
"""The number of images in a step."""

USUAL_PX = 224
"""The side of the images of pretrained networks, px."""

Batch = dict[str, tf.Tensor]
"""A batch of `evaluation_batches`."""

Change = Callable[[Batch], Batch]
"""A function that changes the images of a batch of `evaluation_batches` and keeps its records and their order."""


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating a model on one split.

    Attributes:
        split: the name of the split.
        numbers: the entry of the split in `metrics.json`.
        predictions: the predictions that the numbers were computed from.
    """

    split: str
    numbers: dict[str, Any]
    predictions: Predictions


def predict_split(
    predictor: Predictor,
    source: SplitSource,
    split: str,
    *,
    batch_size: int = BATCH_SIZE,
    change: Change | None = None,
    held: Sequence[Batch] | None = None,
    show_progress: bool = True,
) -> Predictions:
    """Predicts every image of a split once.

    Args:
        predictor: the predictor of the model.
        source: the records of the split; at least one.
        split: the name of the split.
        batch_size: images a step; does not change the result.
        change: changes each batch before it is predicted; None changes nothing.
        held: the batches of `hold_batches`; None reads the records.
        show_progress: show a progress bar on stderr.

    Raises:
        RunError: the records can't be read, or the model returns a logit that is not finite.
    """
    with (
        progress_bar(f"evaluate {split}", source.num_records, unit="images", show=show_progress) as bar,
        readable_records(source),
    ):
        batches: Iterable[Batch] = held or evaluation_batches(source, batch_size=batch_size)
        changed = batches if change is None else map(change, batches)
        predictions = predictor.predict(changed, on_batch=bar.update)
    check_finite(predictions.logits, f"images of {split}")
    return replace(predictions, class_names=source.class_names)


def held_batch_size(image_size: int) -> int:
    """Returns the number of images in a batch that is held: more small ones on a GPU, which would be idle else.

    Args:
        image_size: the side of the images, px.
    """
    if not tf.config.list_logical_devices("GPU"):
        return BATCH_SIZE
    return max(BATCH_SIZE, BATCH_SIZE * USUAL_PX**2 // image_size**2)


def hold_batches(source: SplitSource) -> list[Batch] | None:
    """Reads a split to predict it again and again; the images are on the GPU if there is one.

    Returns:
        The batches; None if the images are too large to be held, see `fits_device`.

    Raises:
        RunError: the records can't be read.
    """
    if not fits_device(source.num_records * source.image_size**2, num_copies=1):
        return None
    with readable_records(source):
        batches = list(evaluation_batches(source, batch_size=held_batch_size(source.image_size)))
    if not tf.config.list_logical_devices("GPU"):
        return batches
    with tf.device("/GPU:0"):
        return [{**batch, "images": tf.identity(batch["images"])} for batch in batches]


def measure(
    predictions: Predictions, split: str, *, point: OperatingPoint | None = None, prevalence: float | None = None
) -> Evaluation:
    """Computes the numbers of a split from its predictions, and of its subgroups.

    They are those of `metrics.evaluate`; of several classes or findings, those of `class_metrics.evaluate_classes`.

    Args:
        predictions: of the split.
        split: the name of the split.
        point: the operating point of the run; if not given, the threshold is 0.5 and nothing is calibrated.
        prevalence: see `metrics.evaluate`; only for two classes.
    """
    point = point or OperatingPoint.fixed(task=predictions.task, num_classes=len(predictions.class_names))
    if predictions.task == BINARY:
        numbers = metrics.evaluate(
            predictions.labels,
            predictions.probabilities,
            predictions.groups,
            predictions.loss(),
            point=point,
            prevalence=prevalence,
            class_names=predictions.class_names,
        )
    else:
        numbers = evaluate_classes(predictions, point)
    if subgroups := by_trait(predictions, point):
        numbers["subgroups"] = subgroups
    return Evaluation(split, numbers, predictions)
