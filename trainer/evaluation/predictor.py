"""Runs a network over batches of images, to get logits for predictions or features for a linear probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar
from trainer import models
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation.predictions import Predictions


class Predictor:
    """Runs a model over every image of a split just once, on all replicas.

    Args:
        model: built or loaded under `strategy.scope()`.
        strategy: the distribution strategy; any.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self.model = model
        self._strategy = strategy
        with strategy.scope():
            self._logits = models.logits_of(model)
        # One trace for all batches, whatever their size: a large network takes half a minute for each.
        shape = (None, *model.input.shape[1:])
        self._predict = tf.function(self._predict_batch, input_signature=[tf.TensorSpec(shape, tf.uint8)])

    def predict(
        self, batches: Iterable[dict[str, tf.Tensor]], on_batch: Callable[[int], object] = lambda count: None
    ) -> Predictions:
        """Predicts all images of some batches.

        Args:
            batches: batches of `tf_dataset.evaluation_batches`; at least one.
            on_batch: called after each batch with its number of images.
        """
        filenames: list[str] = []
        groups: list[str] = []
        labels: list[np.ndarray] = []
        logits: list[np.ndarray] = []
        source_pixels: list[np.ndarray] = []
        for batch in batches:
            logits.append(self.logits(batch["images"]))
            labels.append(batch["labels"].numpy())
            source_pixels.append(batch["source_pixels"].numpy())
            filenames += [name.decode() for name in batch["filenames"].numpy()]
            groups += [group.decode() for group in batch["groups"].numpy()]
            on_batch(len(logits[-1]))
        return Predictions.from_logits(
            filenames,
            groups,
            np.concatenate(labels),
            np.concatenate(logits),
            np.concatenate(source_pixels),
        )

    def logits(self, images: tf.Tensor | np.ndarray) -> np.ndarray:
        """Returns the logits of PNEUMONIA, float64 [N], of images uint8 [N, S, S, 1]."""
        # All replicas get the same number of images: empty ones fill the batch up, and their logits are dropped.
        count = int(images.shape[0])
        padded = tf.pad(images, [[0, -count % self._strategy.num_replicas_in_sync], [0, 0], [0, 0], [0, 0]])
        return self._predict(padded).numpy()[:count, 0].astype(np.float64)

    def _predict_batch(self, images: tf.Tensor) -> tf.Tensor:
        """Returns logits float32 [N, 1] of images uint8 [N, H, W, 1]; N is a multiple of the number of replicas."""
        share = tf.shape(images)[0] // self._strategy.num_replicas_in_sync

        def replica_predict() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first, end = replica * share, (replica + 1) * share
            logits = self._logits(tf.cast(images[first:end], tf.float32), training=False)
            return tf.pad(tf.cast(logits, tf.float32), [[first, tf.shape(images)[0] - end], [0, 0]])

        # Each replica returns its share in its place among zeros, so that the sum holds all logits on every worker.
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(replica_predict), axis=None)


def load_predictor(path: Path) -> Predictor:
    """Loads a saved model to predict with.

    Raises:
        UsageError: the file is missing or not a Keras model.
    """
    return Predictor(models.load(path), tf.distribute.get_strategy())


def check_finite(values: np.ndarray, images: str) -> None:
    """Checks that a network returned finite numbers only.

    Args:
        values: of any shape.
        images: the images in the words of the message.

    Raises:
        RunError: some numbers are not finite.
    """
    if not np.isfinite(values).all():
        raise RunError(f"the model gives no finite number for some {images}; its weights are broken")


@dataclass(frozen=True)
class Features:
    """The features that a network computes from the images of a split, in the order of the manifest.

    Attributes:
        values: float64 [N, F].
        labels: int64 [N], 0 NORMAL or 1 PNEUMONIA.
        groups: [N], the patient of each image.
    """

    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def features_of(extractor: keras.Model, source: SplitSource, split: str, *, batch_size: int) -> Features:
    """Computes the features of every image of a split, without augmentation and without dropout.

    Args:
        extractor: the network without its head, see `cut_before_head`.
        source: the records of the split; at least one.
        split: the name of the split.
        batch_size: images a step; does not change the result.

    Raises:
        RunError: the records can't be read, or the network returns a feature that is not finite.
    """
    shape = (None, *extractor.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)])
    def extract(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(extractor(tf.cast(images, tf.float32), training=False), tf.float64)

    values: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[bytes] = []
    with progress_bar(f"features {split}", source.num_records, unit="images") as bar, readable_records(source):
        for batch in evaluation_batches(source, batch_size=batch_size):
            values.append(extract(batch["images"]).numpy())
            labels.append(batch["labels"].numpy())
            groups += batch["groups"].numpy().tolist()
            bar.update(len(values[-1]))
    features = Features(np.concatenate(values), np.concatenate(labels), np.array(groups))
    check_finite(features.values, f"images of {split}")
    return features
