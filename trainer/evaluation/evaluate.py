"""A model on one split: predictions, numbers, and the images that the report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation import metrics
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.models.gradcam import heat_maps, overlay
from trainer.report.progress import progress_bar
from trainer.report.samples import Sample, telling
from trainer.run.model_card import OperatingPoint

BATCH_SIZE = 64

Change = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
"""A batch of `evaluation_batches` to one of the same records."""


@dataclass(frozen=True)
class Evaluation:
    """What came of one split: the numbers of `metrics.json`, the predictions behind them, and images to show."""

    split: str
    numbers: dict[str, Any]
    predictions: Predictions
    samples: list[Sample]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of `predictions-SPLIT.csv`; the numbers of the split can be worked out from them again."""
        probabilities = self.predictions.probabilities
        columns = {
            "filename": self.predictions.filenames,
            "group": self.predictions.groups,
            "label": self.predictions.labels.tolist(),
            "probability": probabilities.tolist(),
            "calibrated_probability": calibrate(probabilities, self.numbers["temperature"]).tolist(),
            "prediction": (probabilities >= self.numbers["threshold"]).astype(int).tolist(),
            "source_pixels": self.predictions.source_pixels.tolist(),
        }
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def predict_split(
    predictor: Predictor,
    source: SplitSource,
    split: str,
    *,
    batch_size: int = BATCH_SIZE,
    mirror: bool = False,
    change: Change | None = None,
    show_progress: bool = True,
) -> Predictions:
    """Predicts every image of a split, each once.

    Args:
        predictor: of the model.
        source: not empty.
        split: its name.
        batch_size: images a step; does not change the result.
        mirror: left and right exchanged.
        change: what is done to each batch first; None leaves it as it is.
        show_progress: a bar on stderr.

    Raises:
        RunError: the records can't be read, or the model gives no numbers.
    """
    with (
        progress_bar(f"evaluate {split}", source.num_records, unit="images", show=show_progress) as bar,
        readable_records(source),
    ):
        batches = evaluation_batches(source, batch_size=batch_size)
        if mirror:
            batches = batches.map(lambda batch: {**batch, "images": tf.reverse(batch["images"], axis=[2])})
        changed = batches if change is None else map(change, batches)
        predictions = predictor.predict(changed, on_batch=bar.update)
    if not np.isfinite(predictions.logits).all():
        raise RunError(f"the model gives no finite number for some images of {split}; its weights are broken")
    return predictions


def measure(
    predictions: Predictions,
    source: SplitSource,
    split: str,
    *,
    point: OperatingPoint | None = None,
    prevalence: float | None = None,
) -> Evaluation:
    """The numbers of predictions, and images of the source to show; see `metrics.evaluate`."""
    numbers = metrics.evaluate(
        predictions.labels,
        predictions.probabilities,
        predictions.groups,
        predictions.loss(),
        point=point,
        prevalence=prevalence,
    )
    return Evaluation(split, numbers, predictions, _samples(source, predictions, split, numbers["threshold"]))


def explained_evaluation(
    model: keras.Model,
    predictions: Predictions,
    source: SplitSource,
    split: str,
    *,
    point: OperatingPoint | None = None,
    prevalence: float | None = None,
) -> Evaluation:
    """As `measure`, the images with heat maps of the model that made the predictions."""
    evaluation = measure(predictions, source, split, point=point, prevalence=prevalence)
    heats = heat_maps(model, np.stack([sample.pixels for sample in evaluation.samples]))
    explained = [
        replace(sample, overlay=overlay(sample.pixels, heat))
        for sample, heat in zip(evaluation.samples, heats, strict=True)
    ]
    return replace(evaluation, samples=explained)


def _samples(source: SplitSource, predictions: Predictions, split: str, threshold: float) -> list[Sample]:
    """The images that tell most, see `telling`."""
    found = telling(predictions.labels, predictions.probabilities, threshold)
    wanted = {index for indices in found.values() for index in indices}
    samples: list[Sample] = []
    start = 0
    for batch in evaluation_batches(source, batch_size=BATCH_SIZE):
        end = start + int(batch["images"].shape[0])
        for index in sorted(wanted.intersection(range(start, end))):
            samples.append(
                Sample(
                    filename=predictions.filenames[index],
                    label=int(predictions.labels[index]),
                    probability=float(predictions.probabilities[index]),
                    split=split,
                    pixels=batch["images"][index - start, :, :, 0].numpy(),
                )
            )
        start = end
        if start > max(wanted):
            break
    return samples
