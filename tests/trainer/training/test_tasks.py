"""Several classes and findings train alike on any number of replicas, compiled or not, resumed or not."""

import csv
import json
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset
from small_training import assert_close, make_train_step

from beam_prep.console.errors import Terminated
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.config.train import TrainConfig
from trainer.data.sampling import pair_shares
from trainer.data.splits import open_split
from trainer.evaluation.predictions import Predictions
from trainer.models.outputs import Outputs
from trainer.run.identity import job_of
from trainer.run.output import check_run_output
from trainer.training.strategy import distribute
from trainer.training.trainer import Trainer
from trainer.training.validation import monitored

OUTPUTS = {"classes": Outputs(MULTICLASS, 3), "findings": Outputs(MULTILABEL, 3)}
WEIGHTS = {"classes": [0.5, 1.0, 2.0], "findings": [[0.6, 3.0], [0.8, 1.4], [1.0, 1.0]]}
FLAGS = {"image_size": 32, "batch_size": 12, "epochs": 2, "mixup_alpha": 0.2, "ema_decay": 0.5, "label_smoothing": 0.1}


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


def training(folder, run, callbacks=(), **flags) -> Trainer:
    config = TrainConfig(data=str(folder), output=str(run), **{**FLAGS, **flags})
    manifest = Manifest.read(folder)
    sources = {split: open_split(str(folder), manifest, 32, split) for split in manifest.splits}
    output = check_run_output(config.output, job_of(config.to_json(), manifest.fingerprint), overwrite=False)
    return Trainer(config, manifest, sources, output, callbacks=callbacks)


def history_of(run) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_findings_are_trained_and_validated_and_resume_with_the_same_bits(tmp_path):
    write_dataset(tmp_path / "data", FINDINGS)

    def train(run, on_epoch_begin=lambda epoch, logs: None) -> Trainer:
        callback = keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)
        return training(tmp_path / "data", run, [callback], select_by="val_auroc", num_replicas=2)

    trained = train(tmp_path / "whole").run()
    card = json.loads((tmp_path / "whole" / "model.json").read_text())
    assert (card["task"], card["class_names"]) == ("multilabel", list(FINDINGS.class_names))
    assert len(card["thresholds"]) == len(card["temperatures"]) == 4
    assert trained.val.probabilities.shape == trained.val.labels.shape == (24, 4)
    rows = history_of(tmp_path / "whole")
    assert {row["val_accuracy"] for row in rows} == {row["accuracy"] for row in rows} == {""}
    assert card["best"]["val_auroc"] == max(float(row["val_auroc"]) for row in rows)

    def kill(epoch: int, logs: object) -> None:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        train(tmp_path / "cut", kill).run()
    resumed = train(tmp_path / "cut").run()
    for one, other in zip(trained.predictor.model.get_weights(), resumed.predictor.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_new_head_for_three_classes_is_trained_on_features_and_fine_tuned(tmp_path):
    write_dataset(tmp_path / "data", THREE_CLASSES)
    flags = {"arch": "vgg19", "weights": "none", "augment": False, "mixup_alpha": 0.0, "sampler": "balanced"}
    trained = training(tmp_path / "data", tmp_path / "run", epochs=1, fine_tune_epochs=1, **flags).run()
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert [phase["name"] for phase in card["phases"]] == ["head", "fine_tune"]
    assert (card["task"], "threshold" in card, "temperature" in card) == ("multiclass", False, True)
    assert trained.val.probabilities.sum(axis=1) == pytest.approx(1)
    rows = history_of(tmp_path / "run")
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("accuracy", "val_accuracy", "val_auroc"))
    assert keras.saving.load_model(tmp_path / "run" / "model.keras").output_shape == (None, 3)
