"""Runs a network over batches of images on all replicas, to get the logits of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.schema import BINARY, TRAITS
from trainer import models
from trainer.evaluation.predictions import Predictions, mean_logits
from trainer.models.model_file import load_model


class ReplicaFunction:
    """A compiled function of a batch, of which every replica computes a share of the rows.

    Args:
        function: from rows [n, …] to values [n, F].
        strategy: any strategy.
        batch: the type and shape of a batch, whose first dimension is None.
    """

    def __init__(
        self, function: Callable[[tf.Tensor], tf.Tensor], strategy: tf.distribute.Strategy, batch: tf.TensorSpec
    ) -> None:
        self._function = function
        self._strategy = strategy
        # One trace for all batches, whatever their size: a large network takes half a minute for each.
        self._run = tf.function(self._run_batch, input_signature=[batch], autograph=False)

    def start(self, rows: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Starts a batch of N rows; returns values [N or more, F], which may not be computed yet."""
        # All replicas get the same number of rows: empty ones fill the batch up, and their values are to be dropped.
        missing = -int(rows.shape[0]) % self._strategy.num_replicas_in_sync
        return self._run(tf.pad(rows, [[0, missing], *[[0, 0]] * (len(rows.shape) - 1)]) if missing else rows)

    def _run_batch(self, rows: tf.Tensor) -> tf.Tensor:
        share = tf.shape(rows)[0] // self._strategy.num_replicas_in_sync

        def run_share() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first, end = replica * share, (replica + 1) * share
            return tf.pad(self._function(rows[first:end]), [[first, tf.shape(rows)[0] - end], [0, 0]])

        # Each replica returns its share in its place among zeros, so that the sum holds all values on every worker.
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(run_share), axis=None)


class Predictor:
    """Runs a model over every image of a split just once, on all replicas.

    Args:
        model: built or loaded under `strategy.scope()`.
        strategy: the distribution strategy; any.
        of_features: True predicts the features of `frozen_features` instead of images.
        tta: test-time augmentation: the mean probability of each image and its mirror image.
        task: what the labels of an image are, one of `schema.TASKS`.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        of_features: bool = False,
        tta: bool = False,
        task: str = BINARY,
    ) -> None:
        self.model = model
        self._strategy, self._tta, self._task = strategy, tta, task
        with strategy.scope():
            logits = models.cut_at_training(model)[1] if of_features else models.logits_of(model)
        pooled = model.get_layer("pool").output if of_features else None
        batch = (
            tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)
            if pooled is None
            else tf.TensorSpec(pooled.shape, pooled.dtype)
        )

        def predict(rows: tf.Tensor) -> tf.Tensor:
            views = [rows, tf.reverse(rows, axis=[2])] if tta else [rows]
            each = [tf.cast(logits(tf.cast(view, tf.float32), training=False), tf.float32) for view in views]
            return tf.concat(each, axis=1)  # [n, 1] or [n, K] of each view

        self._logits = ReplicaFunction(predict, strategy, batch)

    def with_tta(self, task: str) -> Predictor:
        """Returns a predictor of the mean probability of each image and its mirror image, for a task."""
        return Predictor(self.model, self._strategy, tta=True, task=task)

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
        logits: list[Callable[[], np.ndarray]] = []  # fetched at the end, so that no batch waits for the one before
        source_pixels: list[np.ndarray] = []
        traits: dict[str, list[str]] = {name: [] for name in TRAITS}
        for batch in batches:
            logits.append(self.start(batch["images"]))
            labels.append(batch["labels"].numpy())
            source_pixels.append(batch["source_pixels"].numpy())
            filenames += [name.decode() for name in batch["filenames"].numpy()]
            groups += [group.decode() for group in batch["groups"].numpy()]
            for name, values in traits.items():
                values += [value.decode() for value in batch[name].numpy()]
            on_batch(len(labels[-1]))
        return Predictions.from_logits(
            filenames,
            groups,
            np.concatenate(labels),
            np.concatenate([fetch() for fetch in logits]),
            np.concatenate(source_pixels),
            {name: values for name, values in traits.items() if any(values)},
        )

    def logits(self, images: tf.Tensor | np.ndarray) -> np.ndarray:
        """Returns the logits of images uint8 [N, S, S, 1]: float64 [N] of one output, else float64 [N, K]."""
        return self.start(images)()

    def start(self, images: tf.Tensor | np.ndarray) -> Callable[[], np.ndarray]:
        """Starts to predict images; returns a function that waits for their logits, see `logits`."""
        logits, num_images = self._logits.start(images), int(images.shape[0])

        def fetch() -> np.ndarray:
            values: np.ndarray = logits.numpy()[:num_images].astype(np.float64)
            if self._tta:
                views = np.stack(np.split(values, 2, axis=1))
                # A mean could be finite where one of the two is not.
                values = np.where(np.isfinite(views).all(axis=0), mean_logits(views, self._task), np.nan)
            return values[:, 0] if values.shape[1] == 1 else values

        return fetch


def load_predictor(path: Path, *, tta: bool = False, task: str = BINARY) -> Predictor:
    """Loads a saved model to predict with; for the arguments see `Predictor`.

    Raises:
        UsageError: the file is missing or not a Keras model.
    """
    return Predictor(load_model(path), tf.distribute.get_strategy(), tta=tta, task=task)


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
