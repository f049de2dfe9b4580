"""Computes the features of images: for a linear probe, or for the training of a head on a frozen network."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.progress import progress_bar
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation.evaluate import BATCH_SIZE, Batch
from trainer.evaluation.predictor import ReplicaFunction, check_finite
from trainer.models import cut_at_training


@dataclass(frozen=True)
class Features:
    """The features that a network computes from the images of a split, in the order of the manifest.

    Attributes:
        values: float64 [N, F].
        labels: int64 [N], the index of the class; of findings int64 [N, K]: 1 present, 0 absent, -1 unknown.
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

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
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


def frozen_features(
    model: keras.Model, strategy: tf.distribute.Strategy, source: SplitSource, split: str, *, show_progress: bool
) -> list[Batch]:
    """Runs the frozen base of a network once over a split.

    Args:
        model: a network of which the head alone is trained, built under `strategy.scope()`.
        strategy: any strategy.
        source: the records of the split; at least one.
        split: the name of the split.
        show_progress: show a progress bar on stderr.

    Returns:
        The batches of `evaluation_batches`, with pooled features [n, F] in the place of the images.

    Raises:
        RunError: the records can't be read.
    """
    with strategy.scope():
        frozen, _ = cut_at_training(model)
    images = tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)
    extract = ReplicaFunction(lambda rows: frozen(tf.cast(rows, tf.float32)), strategy, images)
    batches = []
    with (
        progress_bar(f"features of {split}", source.num_records, unit="images", show=show_progress) as bar,
        readable_records(source),
    ):
        for batch in evaluation_batches(source, batch_size=BATCH_SIZE):
            num_images = len(batch["labels"])
            batches.append({**batch, "images": extract.start(batch["images"])[:num_images]})
            bar.update(num_images)
    return batches
