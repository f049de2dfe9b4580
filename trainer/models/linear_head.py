"""What a network sees in an image: the features that its last layer decides by, and another last layer on them."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation.evaluate import readable_records
from trainer.models import base_of
from trainer.report.progress import progress_bar


@dataclass(frozen=True)
class Features:
    """A split as a network sees it, in the order of the manifest.

    Attributes:
        values: float64 [N, F].
        labels: int64 [N].
        groups: [N], the patient of each image.
    """

    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def cut_before_head(model: keras.Model, *, trained: bool) -> keras.Model:
    """The same network, same variables, without its head.

    Args:
        model: as `trainer.models.build` makes it.
        trained: the model is that of a run: only its last layer is taken off. Else the whole head of a pretrained
            network is, of which nothing was trained.

    Returns:
        Images float32 [N, H, W, 1] to features [N, F].
    """
    name = "logits" if trained or base_of(model) is None else "hidden"
    return keras.Model(model.input, model.get_layer(name).input, name=model.name)


def with_linear_head(extractor: keras.Model, weights: np.ndarray, bias: float) -> keras.Model:
    """The network of an extractor under one linear layer, as a network of `trainer.models` ends.

    Args:
        extractor: of `cut_before_head`.
        weights: float [F].
        bias: of the logit.
    """
    layer = keras.layers.Dense(1, dtype="float32", name="logits")
    logits = layer(extractor.output)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    layer.set_weights([weights[:, None].astype(np.float32), np.array([bias], np.float32)])
    return keras.Model(extractor.input, probability, name=extractor.name)


def features_of(extractor: keras.Model, source: SplitSource, split: str, *, batch_size: int) -> Features:
    """What a network sees in every image of a split, as it is: nothing is augmented or dropped out.

    Args:
        extractor: of `cut_before_head`.
        source: not empty.
        split: its name.
        batch_size: images a step; does not change the result.

    Raises:
        RunError: the records can't be read, or the network gives no numbers.
    """
    shape = (None, *extractor.input.shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)])
    def see(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(extractor(tf.cast(images, tf.float32), training=False), tf.float64)

    values: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[bytes] = []
    with progress_bar(f"features {split}", source.num_records, unit="images") as bar, readable_records(source):
        for batch in evaluation_batches(source, batch_size=batch_size):
            values.append(see(batch["images"]).numpy())
            labels.append(batch["labels"].numpy())
            groups += batch["groups"].numpy().tolist()
            bar.update(len(values[-1]))
    seen = Features(np.concatenate(values), np.concatenate(labels), np.array(groups))
    if not np.isfinite(seen.values).all():
        raise RunError(f"the network gives no finite numbers for some images of {split}; its weights are broken")
    return seen
