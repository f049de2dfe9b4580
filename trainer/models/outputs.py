"""Defines the outputs of a network for each task: the last layer, the targets that it learns, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL


class Labelled(Protocol):
    """A thing that has the task and the class names of a dataset, such as its manifest or the source of a split."""

    @property
    def task(self) -> str:
        """The task, one of `schema.TASKS`."""

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes or findings, by label."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network.

    Attributes:
        task: what the labels of an image are, one of `schema.TASKS`.
        num_classes: the number of classes or findings K.
    """

    task: str = BINARY
    num_classes: int = 2

    @classmethod
    def of(cls, labelled: Labelled) -> Outputs:
        """Returns the outputs of a network for the labels of a dataset."""
        return cls(labelled.task, len(labelled.class_names))

    @property
    def size(self) -> int:
        """The number of logits C of an image: one for a task of two classes, else one for each class."""
        return 1 if self.task == BINARY else self.num_classes

    @property
    def has_accuracy(self) -> bool:
        """True if one class is called of each image, which is right or not."""
        return self.task != MULTILABEL

    @property
    def even_weights(self) -> np.ndarray:
        """Class weights of 1, see `weights`."""
        return np.ones([self.num_classes, 2] if self.task == MULTILABEL else self.num_classes)

    def on(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Puts the layers `logits` and `probability` on features [N, F]; returns the probabilities float32 [N, C]."""
        logits = keras.layers.Dense(self.size, dtype="float32", name="logits")(features)
        activation = "softmax" if self.task == MULTICLASS else "sigmoid"
        return keras.layers.Activation(activation, dtype="float32", name="probability")(logits)

    def targets(self, labels: tf.Tensor, smoothing: float) -> tf.Tensor:
        """Returns the probabilities to be learnt, float32 [N, C]; those of unknown findings mean nothing.

        Args:
            labels: int64 [N], or for findings [N, K]: 1 present, 0 absent, -1 unknown.
            smoothing: the label smoothing s in 0..1: targets of two alternatives become s / 2 and 1 - s / 2, those of K
                classes s / K and 1 - s + s / K.
        """
        if self.task == MULTICLASS:
            targets = tf.one_hot(labels, self.num_classes)
        else:
            targets = tf.cast(labels if self.task == MULTILABEL else labels[:, None], tf.float32)
        return targets + smoothing * (1.0 / (self.num_classes if self.task == MULTICLASS else 2) - targets)

    def weights(self, class_weights: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the weights of the losses, float32 [N, 1] or [N, K] for findings; unknown findings count as absent.

        Args:
            class_weights: float32 [K], the weights by label; for findings [K, 2], those of the absent and the present.
            labels: as in `targets`.
        """
        if self.task != MULTILABEL:
            return tf.gather(class_weights, labels)[:, None]
        return tf.where(labels == 1, class_weights[:, 1], class_weights[:, 0])

    def known(self, labels: tf.Tensor, *, in_pairs: bool) -> tf.Tensor | None:
        """Returns 1 for each finding whose label is known, else 0, float32 [N, K]; None where all labels are known.

        Args:
            labels: as in `targets`.
            in_pairs: True if mixup mixes the images with those of the reversed batch: a finding of a mixture is known
                if it is known of both images.
        """
        if self.task != MULTILABEL:
            return None
        known = labels >= 0
        return tf.cast(known & known[::-1] if in_pairs else known, tf.float32)

    def losses(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the cross-entropies of logits [N, C], float32 [N, 1] or [N, K] for findings."""
        if self.task == MULTICLASS:
            return tf.nn.softmax_cross_entropy_with_logits(targets, logits)[:, None]
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)

    def count_correct(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns the number of images whose most probable class is that of the target, float32 []; 0 for findings."""
        if self.task == MULTILABEL:
            return tf.zeros([])
        if self.task == MULTICLASS:
            right = tf.argmax(logits, axis=1) == tf.argmax(targets, axis=1)
        else:
            right = (logits > 0) == (targets > 0.5)
        return tf.reduce_sum(tf.cast(right, tf.float32))


OF_TWO_CLASSES = Outputs()
"""The outputs of a network for a task of two classes."""
