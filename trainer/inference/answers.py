"""Computes the answers of an exported model from the logits of its network."""

from __future__ import annotations

import tensorflow as tf

from beam_prep.dataset.schema import BINARY, MULTICLASS
from trainer.models import Logits
from trainer.run.model_card import ModelCard


def logits_for(images: tf.Tensor, network: Logits, card: ModelCard) -> tf.Tensor:
    """Returns the logits [N, C] of images float32 [N, S, S, 1]; by `tta` of the card those of the mean probability.

    Args:
        images: as the preparation makes them.
        network: from images and `training` to logits.
        card: the model card of the run.
    """
    plain = tf.cast(network(images, training=False), tf.float32)
    if not card.tta:
        return plain
    views = tf.stack([plain, tf.cast(network(images[:, :, ::-1], training=False), tf.float32)])
    if card.task == MULTICLASS:
        return tf.reduce_logsumexp(tf.nn.log_softmax(views), axis=0)
    # The logarithms of the sums of p and of 1 - p over both views.
    return tf.reduce_logsumexp(-tf.nn.softplus(-views), axis=0) - tf.reduce_logsumexp(-tf.nn.softplus(views), axis=0)


def answers_of(logits: tf.Tensor, card: ModelCard) -> dict[str, tf.Tensor]:
    """Returns the answers of an exported model, by name.

    Args:
        logits: [N, C], of any floating type.
        card: the model card of the run.

    Returns:
        `probability` and `calibrated_probability`, float32, and `decision`, int32. Of two classes they are those of the
        positive class, [N] each, and the decision is 1 from the threshold on. Of K classes or findings the
        probabilities are [N, K]; the decision is the index of the most probable class, [N], or 0 or 1 for each finding
        at its threshold, [N, K].
    """
    point, logits = card.operating_point, tf.cast(logits, tf.float32)
    biases = tf.constant(point.biases) if point.biases else 0.0
    if card.task == MULTICLASS:
        shifted = logits / point.temperature + biases
        return {
            "probability": tf.nn.softmax(logits),
            "calibrated_probability": tf.nn.softmax(shifted),
            "decision": tf.argmax(shifted, axis=1, output_type=tf.int32),
        }
    if card.task == BINARY:
        logits = logits[:, 0]
        calibrated, threshold = tf.sigmoid(logits / point.temperature + point.bias), tf.constant(point.threshold)
    else:
        calibrated = tf.sigmoid(logits / tf.constant(point.temperatures) + biases)
        threshold = tf.constant(point.thresholds)
    probability = tf.sigmoid(logits)
    decision = tf.cast(probability >= threshold, tf.int32)
    return {"probability": probability, "calibrated_probability": calibrated, "decision": decision}
