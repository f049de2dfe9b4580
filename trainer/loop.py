"""One training loop for every strategy: the loss is defined on the global batch, every image is evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from trainer.models import logits_of

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""images float32 [N, H, W, 1] and seed int32 [2] to images of the same shape."""


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split, in the order of the manifest.

    Attributes:
        filenames: [N].
        groups: [N].
        labels: int64 [N].
        logits: float64 [N].
    """

    filenames: list[str]
    groups: list[str]
    labels: np.ndarray
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Of PNEUMONIA, float64 [N] in 0..1."""
        return 1 / (1 + np.exp(-np.clip(self.logits, -700, 700)))

    def loss(self, class_weights: Sequence[float] = (1.0, 1.0)) -> float:
        """Mean binary cross-entropy, each image weighed by its class."""
        losses = np.logaddexp(0, self.logits) - self.labels * self.logits  # [N]
        return float(np.mean(np.asarray(class_weights)[self.labels] * losses))


def step_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Folds seed, step and replica into a seed int32 [2], all bits mixed."""
    context = tf.distribute.get_replica_context()
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32) if context else tf.constant(0)
    pair = tf.stack([tf.constant(seed % 2**31, tf.int32), tf.cast(step, tf.int32)])
    mixed = tf.random.experimental.stateless_fold_in(pair, replica)
    return tf.random.stateless_uniform([2], mixed, minval=None, maxval=None, dtype=tf.int32)


class Loop:
    """The compiled steps of one phase of a training.

    Args:
        model: built under `strategy.scope()`; its trainable layers are those of the phase.
        optimizer: fresh for the phase.
        strategy: any.
        batch_size: global batch; the replicas divide it.
        class_weights: float [2], by label.
        augment: None leaves the images as they are.
        seed: of augmentation and dropout.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        class_weights: Sequence[float],
        augment: Augment | None,
        seed: int,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        model.optimizer = optimizer  # where Keras callbacks look for the learning rate
        self.strategy = strategy
        self._batch_size = batch_size
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._augment = augment
        self._seed = seed
        with strategy.scope():
            self._logits = logits_of(model)
            optimizer.build(model.trainable_variables)
        self._seed_dropout()

    def _seed_dropout(self) -> None:
        """Makes the seed of each dropout layer a function of layer, step and replica.

        Keras' own generator gives all replicas the same numbers, and its state would be one more thing to restore.
        """
        dropouts = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout)]
        for index, layer in enumerate(dropouts, start=1):
            layer.seed_generator.next = partial(self._dropout_seed, self._seed + 7919 * index)

    def _dropout_seed(self, layer_seed: int, ordered: bool = True) -> tf.Tensor:
        """Stands in for `keras.random.SeedGenerator.next`; int32 [2]."""
        return step_seed(layer_seed, self.optimizer.iterations.value)

    def train_steps(self, batches: Iterator, num_steps: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs steps.

        Args:
            batches: distributed batches, as `strategy.experimental_distribute_dataset` gives them.
            num_steps: how many.

        Returns:
            Sums over the steps, float32, not waited for: the loss (weighted, augmented), the images told right.
        """
        loss, correct = self._train_step(next(batches))
        for _ in range(num_steps - 1):
            more_loss, more_correct = self._train_step(next(batches))
            loss, correct = loss + more_loss, correct + more_correct
        return loss, correct

    @tf.function
    def _train_step(self, batch: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = self.strategy.run(self._replica_train_step, args=batch)
        total = tf.distribute.ReduceOp.SUM
        return self.strategy.reduce(total, loss, axis=None), self.strategy.reduce(total, correct, axis=None)

    def _replica_train_step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32)  # [n, H, W, 1], n = N / replicas
        if self._augment is not None:
            images = self._augment(images, step_seed(self._seed, self.optimizer.iterations.value))
        targets = tf.cast(labels, tf.float32)[:, None]  # [n, 1]
        weights = tf.gather(self._class_weights, labels)[:, None]  # [n, 1]
        with tf.GradientTape() as tape:
            logits = tf.cast(self._logits(images, training=True), tf.float32)  # [n, 1]
            losses = weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
            # Divided by the global batch: the optimizer sums the gradients of the replicas.
            loss = tf.reduce_sum(losses) / self._batch_size
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        correct = tf.reduce_sum(tf.cast((logits > 0) == (targets > 0.5), tf.float32))
        return loss, correct


class Evaluator:
    """Runs a model over every image of a split just once, on all replicas.

    Args:
        model: built or loaded under `strategy.scope()`.
        strategy: any.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        with strategy.scope():
            self._logits = logits_of(model)
        # One trace for all batches, whatever their size: a large network takes half a minute for each.
        shape = (None, *model.input.shape[1:])
        self._predict = tf.function(self._predict_batch, input_signature=[tf.TensorSpec(shape, tf.uint8)])

    def predict(self, batches: tf.data.Dataset, on_batch: Callable[[int], object] = lambda count: None) -> Predictions:
        """Predicts all of `dataset.evaluation_batches`.

        The last batch is filled up with zeros to a size that the replicas divide, and what comes of those is dropped.
        """
        filenames: list[str] = []
        groups: list[str] = []
        labels: list[np.ndarray] = []
        logits: list[np.ndarray] = []
        replicas = self._strategy.num_replicas_in_sync
        for batch in batches:
            images = batch["images"]
            count = int(images.shape[0])
            padded = tf.pad(images, [[0, -count % replicas], [0, 0], [0, 0], [0, 0]])
            logits.append(self._predict(padded).numpy()[:count, 0])
            labels.append(batch["labels"].numpy())
            filenames += [name.decode() for name in batch["filenames"].numpy()]
            groups += [group.decode() for group in batch["groups"].numpy()]
            on_batch(count)
        return Predictions(filenames, groups, np.concatenate(labels), np.concatenate(logits).astype(np.float64))

    def _predict_batch(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 [N, H, W, 1], N a multiple of the replicas, to logits float32 [N, 1] in the same order."""
        share = tf.shape(images)[0] // self._strategy.num_replicas_in_sync

        def replica_predict() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first, end = replica * share, (replica + 1) * share
            logits = self._logits(tf.cast(images[first:end], tf.float32), training=False)
            return tf.pad(tf.cast(logits, tf.float32), [[first, tf.shape(images)[0] - end], [0, 0]])

        # Each share is in its place among zeros: the sum is the whole, and every worker has it.
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(replica_predict), axis=None)
