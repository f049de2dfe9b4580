"""A model on one split: predictions, numbers, and the images that the report shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from beam_prep.errors import RunError
from trainer import metrics, models
from trainer.dataset import evaluation_batches
from trainer.inputs import SplitSource, first_broken
from trainer.loop import Evaluator, Predictions
from trainer.progress import progress_bar
from trainer.report import Sample

BATCH_SIZE = 64
NUM_SAMPLES = 5  # right ones, and as many wrong ones


@dataclass(frozen=True)
class Evaluation:
    """What came of one split: the numbers of `metrics.json`, the predictions behind them, and images to show."""

    split: str
    numbers: dict[str, Any]
    predictions: Predictions
    samples: list[Sample]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of `predictions-SPLIT.csv`; the numbers of the split can be worked out from them again."""
        for filename, group, label, probability in zip(
            self.predictions.filenames,
            self.predictions.groups,
            self.predictions.labels.tolist(),
            self.predictions.probabilities.tolist(),
            strict=True,
        ):
            prediction = int(probability >= self.numbers["threshold"])
            yield {
                "filename": filename,
                "group": group,
                "label": label,
                "probability": probability,
                "prediction": prediction,
            }


def predict_split(
    evaluator: Evaluator, source: SplitSource, split: str, *, batch_size: int = BATCH_SIZE, show_progress: bool = True
) -> Predictions:
    """Predicts every image of a split, each once.

    Args:
        evaluator: of the model.
        source: not empty.
        split: its name.
        batch_size: images a step; does not change the result.
        show_progress: a bar on stderr.

    Raises:
        RunError: the records can't be read, or the model gives no numbers.
    """
    with (
        progress_bar(f"evaluate {split}", source.num_records, unit="images", show=show_progress) as bar,
        readable_records(source),
    ):
        predictions = evaluator.predict(evaluation_batches(source, batch_size=batch_size), on_batch=bar.update)
    if not np.isfinite(predictions.logits).all():
        raise RunError(f"the model gives no finite number for some images of {split}; its weights are broken")
    return predictions


def evaluate_split(
    evaluator: Evaluator, source: SplitSource, split: str, *, batch_size: int = BATCH_SIZE, show_progress: bool = True
) -> Evaluation:
    """Evaluates a split; see `predict_split`."""
    predictions = predict_split(evaluator, source, split, batch_size=batch_size, show_progress=show_progress)
    numbers = metrics.evaluate(predictions.labels, predictions.probabilities, predictions.groups, predictions.loss())
    return Evaluation(split, numbers, predictions, _samples(source, predictions, split, numbers["threshold"]))


def evaluate_model(path: Path, source: SplitSource, split: str, *, batch_size: int) -> Evaluation:
    """Evaluates a saved model; see `evaluate_split`.

    Raises:
        UsageError: the file is missing or not a Keras model.
    """
    return evaluate_split(
        Evaluator(models.load(path), tf.distribute.get_strategy()), source, split, batch_size=batch_size
    )


@contextmanager
def readable_records(source: SplitSource) -> Iterator[None]:
    """Turns what TensorFlow says of a broken record into one line that names the shard and the record."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
        # Around what is wrong, TensorFlow says which node of which graph met it, and never which file.
        said = re.sub(r"\{\{.*?\}\}|\[(Op|\[).*", "", error.message.splitlines()[0]).strip()
        broken = first_broken(source.paths) or said
        raise RunError(f"reading the records failed: {broken}; see: python -m beam_prep verify DATASET") from error


def _samples(source: SplitSource, predictions: Predictions, split: str, threshold: float) -> list[Sample]:
    """The first right and the first wrong images, in the order of the manifest, which is as good as random."""
    right = (predictions.probabilities >= threshold) == (predictions.labels == 1)  # [N]
    wanted = {*np.flatnonzero(right)[:NUM_SAMPLES].tolist(), *np.flatnonzero(~right)[:NUM_SAMPLES].tolist()}
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
