"""A training job handles callbacks, interruptions and numbers that are not finite."""

import csv
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from beam_prep.console.errors import RunError, Terminated, UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictor import Predictor
from trainer.run.identity import job_of
from trainer.run.model_card import ModelCard
from trainer.run.output import check_run_output
from trainer.training.phases import Phase
from trainer.training.state import EpochSums, NotFiniteError, TrainingState
from trainer.training.trainer import Trainer

NUM_STEPS = 6
"""The number of steps in an epoch."""


def training(dataset, run, callbacks=(), **flags) -> Trainer:
    flags = {"image_size": 32, "batch_size": 8, "epochs": 3, "learning_rate": 1e-3, **flags}
    config = TrainConfig(data=str(dataset), output=str(run), **flags)
    manifest = Manifest.read(dataset)
    sources = {split: open_split(str(dataset), manifest, 32, split) for split in manifest.splits}
    output = check_run_output(config.output, job_of(config.to_json(), manifest.fingerprint), overwrite=False)
    return Trainer(config, manifest, sources, output, callbacks=callbacks)


class Recorder(keras.callbacks.Callback):
    """Records the calls that it gets."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("begin", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch", batch, sorted(logs)))
        assert all(np.isfinite(value) for value in logs.values())

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("end", epoch, sorted(name for name in logs if name != "learning_rate")))

    def on_train_end(self, logs=None):
        self.calls.append(("over",))


class At(keras.callbacks.Callback):
    """Calls an action once, after a step of an epoch; both are counted from 0."""

    def __init__(self, epoch, step, action):
        super().__init__()
        self._place, self._action, self._epoch = (epoch, step), action, None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self._epoch, batch) == self._place:
            self._place = None
            self._action(self.model)


def test_callbacks_of_the_user_are_called_for_batches_and_epochs(dataset, tmp_path):
    recorder, table = Recorder(), tmp_path / "table.csv"
    logs = keras.callbacks.TensorBoard(str(tmp_path / "logs"), update_freq=1)
    training(dataset, tmp_path / "run", [recorder, keras.callbacks.CSVLogger(str(table)), logs], epochs=2).run()
    ends = [("end", epoch, ["accuracy", "loss", "val_accuracy", "val_auroc", "val_loss"]) for epoch in range(2)]
    batches = [("batch", step, ["accuracy", "loss"]) for step in range(NUM_STEPS)]
    expected = [("begin", 2, NUM_STEPS), ("epoch", 0), *batches, ends[0], ("epoch", 1), *batches, ends[1], ("over",)]
    assert recorder.calls == expected
    with open(table, newline="") as file, open(tmp_path / "run" / "history.csv", newline="") as history:
        rows = list(zip(csv.DictReader(file), csv.DictReader(history), strict=True))
    assert [(row["loss"], row["val_loss"]) for row, _ in rows] == [(row["loss"], row["val_loss"]) for _, row in rows]
    assert list((tmp_path / "logs").rglob("events.*"))


def test_the_weights_of_the_epoch_that_select_by_chooses_are_kept_and_measured(dataset, tmp_path):
    job = training(dataset, tmp_path / "run", epochs=4, learning_rate=1e-4, select_by="val_auroc")
    trained = job.run()
    best = max(job.state.history, key=lambda row: row["val_auroc"])
    least = min(job.state.history, key=lambda row: row["val_loss"])
    assert (best["epoch"], best["val_auroc"]) == (job.state.best["epoch"], job.state.best["val_auroc"])
    assert best["epoch"] != least["epoch"], "the epochs of this training differ"
    measured = roc_auc_score(trained.val.labels, trained.val.probabilities)
    assert measured == pytest.approx(best["val_auroc"], abs=1e-9)


def test_with_tta_the_finished_model_predicts_an_image_and_its_mirror_image(dataset, tmp_path):
    job = training(dataset, tmp_path / "run", epochs=1, tta=True)
    trained = job.run()
    plain, both = (
        predict_split(Predictor(job.model, job.strategy, tta=tta), job.sources["val"], "val") for tta in (False, True)
    )
    assert trained.val.logits.tolist() == both.logits.tolist()
    assert np.abs(plain.logits - both.logits).max() > 0
    measured = roc_auc_score(plain.labels, plain.probabilities)
    assert job.state.history[0]["val_auroc"] == pytest.approx(measured), "epochs are measured without"
    assert ModelCard.read(job.folder).tta


def test_early_stopping_ends_the_phase(dataset, tmp_path):
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=1, min_delta=9.0)
    job = training(dataset, tmp_path / "run", [stopping], epochs=9)
    job.run()
    assert len(job.state.history) == stopping.stopped_epoch + 1 == 2


@pytest.mark.slow
def test_the_state_of_callbacks_outlives_an_interruption(dataset, tmp_path):
    def run(output, *others):
        stopping = keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=3, min_delta=9.0)
        job = training(dataset, output, [stopping, *others], epochs=9, plateau_patience=1)
        job.run()
        return job, stopping

    idle = At(99, 0, lambda model: None)
    whole, stopping = run(tmp_path / "whole", idle)
    for epoch, step in ((0, 2), (1, NUM_STEPS - 1), (2, 4)):
        with pytest.raises(Terminated, match="all is saved"):
            run(tmp_path / "run", At(epoch, step, lambda model: os.kill(os.getpid(), signal.SIGTERM)))
    resumed, again = run(tmp_path / "run", idle)
    assert (again.stopped_epoch, again.best) == (stopping.stopped_epoch, stopping.best)
    rows = [[{**row, "seconds": 0} for row in job.state.history] for job in (whole, resumed)]
    assert rows[0] == rows[1]
    assert len({row["learning_rate"] for row in rows[0]}) > 1, "the schedule had something to remember"
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_callbacks_or_replicas_than_before_are_refused(dataset, tmp_path):
    kill = At(0, 1, lambda model: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Terminated):
        training(dataset, tmp_path / "run", [kill]).run()
    with pytest.raises(UsageError, match="started with the callbacks"):
        training(dataset, tmp_path / "run").run()
    job = training(dataset, tmp_path / "run")
    job.state.num_replicas = 2  # as on a machine with two GPUs
    with pytest.raises(UsageError, match="an unfinished run of 1 replicas, found 2 here"):
        job.run()


def test_a_command_that_is_refused_leaves_the_unfinished_run_as_it_was(dataset, tmp_path):
    kill = At(0, 1, lambda model: os.kill(os.getpid(), signal.SIGTERM))
    callbacks, files = [kill], [tmp_path / "run" / name for name in ("config.json", "checkpoints/job.json")]
    with pytest.raises(Terminated):
        training(dataset, tmp_path / "run", callbacks).run()
    before = [file.read_bytes() for file in files]
    with pytest.raises(UsageError, match=r"an unfinished run in float32, .* found bfloat16"):
        training(dataset, tmp_path / "run", callbacks, precision="bfloat16").run()
    assert [file.read_bytes() for file in files] == before
    training(dataset, tmp_path / "run", callbacks, steps_per_call=3).run()
    assert all('"steps_per_call": 3' in file.read_text() for file in files), "what does not shape the model may change"


def test_the_place_where_a_training_resumes_is_said():
    phase = Phase("train", 2, "adam", 1e-3)
    assert TrainingState(epoch=1, step=4).resumes_at(phase) == "phase train in epoch 2 of 2, after step 4"
    assert TrainingState(epoch=2).resumes_at(phase) == "the end of phase train, after 2 epochs"
    assert TrainingState(epoch=1, stopped=True).resumes_at(phase) == "the end of phase train, after 1 epoch"


def ruin(model, index: int = -1) -> None:
    """Sets a variable to NaN, as too large a step does; by default the bias of the logits, which the loss shows."""
    variable = model.trainable_variables[index]
    variable.assign(tf.fill(variable.shape, np.float32("nan")))


def test_a_loss_that_is_nan_stops_with_the_step_and_the_last_good_checkpoint(dataset, tmp_path):
    job = training(dataset, tmp_path / "run", [At(1, 3, ruin)], checkpoint_every_steps=4)
    with pytest.raises(RunError) as error:
        job.run()
    assert "the loss became nan at step 5 of epoch 2, phase train" in str(error.value)
    assert "the last good checkpoint (after step 2 of epoch 2 of phase 1)" in str(error.value)
    assert "--on_nan rollback" in str(error.value)


def test_of_several_steps_in_one_call_all_are_named():
    state = TrainingState(step=3)
    sums = EpochSums(state)
    sums.add(1, tf.constant(0.5), tf.constant(1.0))
    sums.add(8, tf.constant(np.nan), tf.constant(1.0))
    with pytest.raises(NotFiniteError, match="the loss became nan in steps 5 to 12"):
        sums.check()


def test_weights_that_are_nan_stop_though_the_loss_does_not_show_it(dataset, tmp_path):
    job = training(dataset, tmp_path / "run", [At(1, 3, lambda model: ruin(model, 0))])
    with pytest.raises(RunError, match="the weights are not finite any more at step 6 of epoch 2"):
        job.run()


def test_rollback_resumes_from_the_last_good_checkpoint_with_half_the_rate(dataset, tmp_path, caplog):
    job = training(
        dataset, tmp_path / "run", [At(1, 3, ruin)], checkpoint_every_steps=4, on_nan="rollback", plateau_patience=9
    )
    job.run()
    rates = [row["learning_rate"] for row in job.state.history]
    assert rates == pytest.approx([1e-3, 5e-4, 5e-4])
    assert job.state.num_rollbacks == 1
    assert all(np.isfinite(row["loss"]) for row in job.state.history)
    assert "the loss became nan at step 5 of epoch 2" in caplog.text


@pytest.mark.slow
def test_rollback_gives_up_after_three_times(dataset, tmp_path):
    class Always(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            ruin(self.model)

    with pytest.raises(RunError, match="after 3 rollbacks; try a smaller --learning_rate"):
        training(dataset, tmp_path / "run", [Always()], on_nan="rollback").run()
