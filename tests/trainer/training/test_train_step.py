"""Training steps compute what Keras computes; flags for speed do not change the result."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from small_training import CLASS_WEIGHTS, assert_close, assert_same_bits, fit, make_train_step, without_dropout

from beam_prep.dataset.manifest import Manifest
from trainer import models
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches, training_batches
from trainer.evaluation.predictor import Predictor
from trainer.training.strategy import distribute


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def test_a_step_is_that_of_keras_with_class_weights(train):
    _, weights = fit(make_train_step(dropout=False), train, epochs=1)
    keras.utils.set_random_seed(0)
    model = models.build(TrainConfig(data="d", output="o", image_size=32))
    without_dropout(model)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="binary_crossentropy")
    batches = training_batches(train, batch_size=16, seed=0, epoch=0)
    model.fit(
        batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels)),
        class_weight=dict(enumerate(CLASS_WEIGHTS)),
        verbose=0,
    )
    assert_close(weights, model.get_weights(), atol=1e-5)


def test_smoothed_labels_give_the_loss_of_keras(train):
    images, labels = next(iter(training_batches(train, batch_size=16, seed=0, epoch=0)))
    train_step = make_train_step(dropout=False, label_smoothing=0.2)
    probabilities = train_step.model(tf.cast(images, tf.float32))
    losses = keras.losses.BinaryCrossentropy(label_smoothing=0.2, reduction="none")(labels[:, None], probabilities)
    expected = np.mean(np.asarray(CLASS_WEIGHTS)[labels] * losses)
    loss, _ = train_step.run(iter([(images, labels)]), 1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_all_regularization_together_is_reproducible(train, replicas):
    flags = {"label_smoothing": 0.1, "mixup_alpha": 0.4, "cutout": 0.3, "ema_decay": 0.9}
    runs = [fit(make_train_step(replicas, augment=True, **flags), train) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    assert_same_bits(runs[0][1], runs[1][1])
    assert runs[0][0] != fit(make_train_step(replicas, augment=True), train)[0]


@pytest.mark.parametrize("replicas", [1, 2])
def test_steps_of_one_call_give_the_same_bits_as_one_call_each(train, replicas):
    one_by_one = fit(make_train_step(replicas, augment=True), train, steps_per_call=1)
    for steps_per_call in (2, 8):  # an epoch has 3 steps: a short call at the end, or one call only
        losses, weights = fit(make_train_step(replicas, augment=True), train, steps_per_call=steps_per_call)
        assert losses == one_by_one[0]
        assert_same_bits(weights, one_by_one[1])


def test_calls_of_any_length_and_all_epochs_take_one_trace(train):
    train_step = make_train_step(2)
    fit(train_step, train, steps_per_call=2)
    assert train_step._programs.run.experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_xla_gives_the_same_bits_again_with_dropout(train):
    one, other = (fit(make_train_step(jit_compile=True), train, epochs=1) for _ in range(2))
    assert one[0] == other[0]
    assert_same_bits(one[1], other[1])
    assert one[0] != fit(make_train_step(dropout=False), train, epochs=1)[0], "dropout is on"


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_bfloat16_learns_as_float32_does(train, replicas):
    aurocs = {}
    for mixed_precision in (False, True):
        train_step = make_train_step(replicas, mixed_precision=mixed_precision, dropout=False)
        losses, weights = fit(train_step, train, epochs=12)
        assert losses[-1] < losses[0]
        assert {weight.dtype for weight in weights} == {np.dtype("float32")}
        predictions = Predictor(train_step.model, train_step.strategy).predict(evaluation_batches(train, batch_size=64))
        aurocs[mixed_precision] = roc_auc_score(predictions.labels, predictions.logits)
    assert aurocs[True] == pytest.approx(aurocs[False], abs=0.05)


@pytest.mark.parametrize("arch", ["baseline_cnn", "vgg19"])
def test_a_bfloat16_model_is_loaded_again_and_gives_float32(tmp_path, arch):
    policy = keras.config.dtype_policy().name
    model = make_train_step(mixed_precision=True, arch=arch).model
    assert keras.config.dtype_policy().name == policy, "other models are as they were"
    assert model.layers[-4].compute_dtype == "bfloat16"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    grey = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1)).astype(np.float32)
    probabilities = loaded(grey)
    assert probabilities.dtype == "float32"
    np.testing.assert_array_equal(probabilities, model(grey))
    logits = models.logits_of(loaded)(grey, training=False)
    assert logits.dtype == "float32"
    assert len(np.unique(logits.numpy().astype(np.float16).astype(np.float32) - logits)) > 1, "no number of 8 bits"


def test_batches_are_copied_to_the_device_ahead_of_the_step(train):
    batches = training_batches(train, batch_size=16, seed=0, epoch=0)
    with tf.device("/CPU:1"):
        ahead = distribute(batches, tf.distribute.get_strategy(), "/CPU:1")
        images, labels = next(ahead)
    assert images.device.endswith("CPU:1")
    expected_images, expected_labels = next(iter(batches))
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(labels, expected_labels)

    @tf.function
    def brightness(iterator):
        total = tf.zeros([])
        for _ in tf.range(2):
            total += tf.reduce_mean(tf.cast(next(iterator)[0], tf.float32))
        return total

    with tf.device("/CPU:1"):
        assert brightness(ahead) > 0
