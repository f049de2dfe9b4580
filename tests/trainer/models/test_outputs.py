"""Outputs, targets and losses of a network are those of the task of its dataset."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer import models
from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.models.outputs import OF_TWO_CLASSES, Outputs
from trainer.training.phases import count_parameters, freeze, phases_of

CLASSES, FINDINGS = Outputs(MULTICLASS, 3), Outputs(MULTILABEL, 3)
LABELS = np.array([[1, 0, -1], [0, -1, 1], [-1, -1, -1], [1, 1, 0]])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("arch", [*FROM_SCRATCH, "vgg19"])
def test_a_network_has_a_probability_for_each_class_and_differs_in_its_last_layer_only(arch):
    config = TrainConfig(data="d", output="o", arch=arch, image_size=32, weights="none")
    binary, classes, findings = (models.build(config, outputs) for outputs in (OF_TWO_CLASSES, CLASSES, FINDINGS))
    features = binary.get_layer("logits").kernel.shape[0]
    assert classes.count_params() == findings.count_params() == binary.count_params() + 2 * (features + 1)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
    assert binary(images).shape == (2, 1)
    np.testing.assert_allclose(tf.reduce_sum(classes(images), axis=1), [1, 1], rtol=1e-5)
    np.testing.assert_allclose(findings(images), tf.sigmoid(models.logits_of(findings)(images, training=False)))


def test_a_new_head_for_fourteen_findings_trains_no_other_layer():
    config = TrainConfig(data="d", output="o", arch="vgg19", image_size=32, weights="none")
    model = models.build(config, Outputs(MULTILABEL, 14))
    freeze(model, phases_of(config)[0])
    assert count_parameters(model)["num_trainable"] == 512 * 128 + 128 + 128 * 14 + 14


def test_classes_learn_the_smoothed_cross_entropy_of_keras():
    labels = np.array([0, 2, 1, 2])
    targets = CLASSES.targets(tf.constant(labels), 0.3)
    losses = CLASSES.losses(targets, LOGITS)[:, 0]
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3, reduction="none")
    np.testing.assert_allclose(losses, expected(np.eye(3)[labels], LOGITS), rtol=1e-5)
    weights = CLASSES.weights(tf.constant([1.0, 2.0, 3.0]), tf.constant(labels))
    assert weights.numpy().tolist() == [[1], [3], [2], [3]]
    assert CLASSES.known(tf.constant(labels), in_pairs=True) is None
    assert CLASSES.count_correct(targets, LOGITS) == np.sum(LOGITS.argmax(axis=1) == labels)


def test_findings_learn_what_is_known_of_them_and_weigh_present_and_absent_apart():
    labels = tf.constant(LABELS)
    known = FINDINGS.known(labels, in_pairs=False).numpy()
    assert known.tolist() == (LABELS >= 0).astype(float).tolist()
    weights = FINDINGS.weights(tf.constant([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), labels).numpy()
    assert (known * weights).tolist() == [[10, 2, 0], [1, 0, 30], [0, 0, 0], [10, 20, 3]]
    losses = FINDINGS.losses(FINDINGS.targets(labels, 0.0), LOGITS).numpy()[LABELS >= 0]
    probabilities = 1 / (1 + np.exp(-LOGITS[LABELS >= 0]))
    truths = LABELS[LABELS >= 0]
    np.testing.assert_allclose(losses, -np.log(np.where(truths == 1, probabilities, 1 - probabilities)), rtol=1e-4)
    assert not FINDINGS.has_accuracy


def test_a_mixed_finding_is_unknown_if_it_is_unknown_of_either_image():
    both = (LABELS >= 0) & (LABELS[::-1] >= 0)
    assert FINDINGS.known(tf.constant(LABELS), in_pairs=True).numpy().tolist() == both.astype(float).tolist()
