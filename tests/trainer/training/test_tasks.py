"""Training steps of several classes and of findings are the same on any number of replicas, compiled or not."""

import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, make_train_step

from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.data.sampling import pair_shares
from trainer.evaluation.predictions import Predictions
from trainer.models.outputs import Outputs
from trainer.training.strategy import distribute
from trainer.training.validation import monitored

OUTPUTS = {"classes": Outputs(MULTICLASS, 3), "findings": Outputs(MULTILABEL, 3)}
WEIGHTS = {"classes": [0.5, 1.0, 2.0], "findings": [[0.6, 3.0], [0.8, 1.4], [1.0, 1.0]]}


def a_batch(task: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns 16 images and their labels; of the findings most are known of the first images, and few of the last."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (16, 32, 32, 1)).astype(np.uint8)
    if task == "classes":
        return images, rng.integers(0, 3, 16)
    labels = rng.integers(0, 2, (16, 3))
    labels[rng.random((16, 3)) < np.linspace(0.0, 0.9, 16)[:, None]] = -1
    return images, labels


def train(task: str, replicas: int = 1, **flags) -> tuple[float, float, list[np.ndarray]]:
    """Trains two steps on one batch; returns the summed loss, the number of right answers and the weights."""
    options = {"dropout": False, "outputs": OUTPUTS[task], "class_weights": WEIGHTS[task], **flags}
    step = make_train_step(replicas, **options)
    rows = pair_shares(16, replicas).ravel()  # so that each replica gets whole pairs, which mixup mixes
    batches = tf.data.Dataset.from_tensors(tuple(array[rows] for array in a_batch(task))).repeat()
    loss, correct = step.run(distribute(batches, step.strategy), 2)
    return float(loss), float(correct), step.model.get_weights()


@pytest.mark.parametrize("task", ["classes", "findings"])
def test_two_replicas_train_as_one_does(task):
    one, two = (train(task, replicas, mixup_alpha=0.4, label_smoothing=0.1) for replicas in (1, 2))
    assert two[0] == pytest.approx(one[0], rel=1e-4)
    assert two[1] == one[1]
    assert_close(two[2], one[2], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "replicas"), [("classes", 1), ("findings", 2)])
def test_a_compiled_step_trains_as_the_other_does(task, replicas):
    flags = {"mixup_alpha": 0.4, "ema_decay": 0.9}
    plain, compiled = (train(task, replicas, jit_compile=jit, **flags) for jit in ("off", "on"))
    assert compiled[0] == pytest.approx(plain[0], rel=1e-4)
    assert_close(compiled[2], plain[2], atol=1e-5)


@pytest.mark.parametrize("task", ["classes", "findings"])
def test_the_loss_of_a_step_is_that_of_validation(task):
    images, labels = a_batch(task)
    step = make_train_step(dropout=False, outputs=OUTPUTS[task], class_weights=WEIGHTS[task])
    scores = step.model(tf.cast(images, tf.float32), training=False).numpy().astype(float)
    logits = np.log(scores) if task == "classes" else np.log(scores / (1 - scores))
    names, names_of_classes = [str(place) for place in range(16)], ("A", "B", "C")
    predicted = Predictions.from_logits(names, names, labels, logits, np.zeros(16, int))
    predicted = Predictions(**{**vars(predicted), "class_names": names_of_classes})
    loss, _ = step.run(iter([(tf.constant(images), tf.constant(labels))]), 1)
    assert float(loss) == pytest.approx(predicted.loss(WEIGHTS[task]), rel=1e-4)
    numbers = monitored(predicted, float(loss))
    assert ("accuracy" in numbers) == (task == "classes")
    assert 0 <= numbers["auroc"] <= 1


def test_a_batch_of_which_nothing_is_known_teaches_nothing():
    step = make_train_step(dropout=False, outputs=OUTPUTS["findings"], class_weights=None)
    before = step.model.get_weights()
    images, labels = a_batch("findings")
    loss, _ = step.run(iter([(tf.constant(images), tf.constant(np.full_like(labels, -1)))]), 1)
    assert float(loss) == 0
    assert_close(step.model.get_weights(), before, atol=0)


def test_without_two_classes_there_is_no_auroc_of_an_epoch():
    two = Predictions(["a", "b"], ["a", "b"], np.ones(2, int), np.zeros(2), np.full(2, 0.5), np.zeros(2, int))
    assert monitored(two, 0.3) == {"loss": 0.3, "accuracy": 1.0, "auroc": None}
