"""One training: the model through its phases, saved on the way, the best weights kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import keras

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.manifest import Manifest
from trainer import models
from trainer.config.threshold_rule import parse_rule
from trainer.config.train import TrainConfig
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import distribute
from trainer.data.training_data import TrainingData
from trainer.evaluation import metrics
from trainer.evaluation.evaluate import Evaluation, measure, predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.evaluation.thresholds import fit_operating_point
from trainer.run.continuation import link_checkpoint
from trainer.run.folder import RunFolder, open_output, written
from trainer.run.identity import OWN_OF_A_WORKER, job_of
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.run.provenance import origin_of
from trainer.training.callbacks import Callbacks, own_callbacks
from trainer.training.checkpoint_manager import Saver
from trainer.training.phases import Phase, count_parameters, phases_of
from trainer.training.state import TrainingState
from trainer.training.strategy import check_alike, is_chief, make_strategy
from trainer.training.sums import EpochSums, NotFiniteError
from trainer.training.train_step import Loop

MAX_ROLLBACKS = 3

logger = logging.getLogger(__name__)


class Training:
    """A training job.

    Args:
        config: its flags.
        manifest: of the dataset.
        sources: its splits at the size of the config.
        callbacks: Keras callbacks of the user, see `Callbacks`.

    Raises:
        UsageError: the devices or the pretrained weights are not there, or the fold is empty; nothing was written.
        RunError: the records can't be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest,
        sources: dict[str, SplitSource],
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        self.config = config
        self.manifest = manifest
        self.strategy = make_strategy(config)
        shared = {name: value for name, value in config.to_json().items() if name not in OWN_OF_A_WORKER}
        check_alike(self.strategy, {**shared, "data": manifest.fingerprint})
        self._images = TrainingData(config, manifest, sources)
        self.sources = self._images.sources
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            self.model = models.build(config)
        self._predictor = Predictor(self.model, self.strategy)
        self.is_chief = is_chief(self.strategy)
        self.folder = RunFolder.at(config.output)
        if self.is_chief:
            open_output(config.output, job_of(config.to_json(), manifest.fingerprint), overwrite=config.overwrite)
            link_checkpoint(config)
        self._saver = Saver(self.model, self.strategy, self.folder, config.checkpoint_every_steps)
        self._users_callbacks = callbacks

    @property
    def state(self) -> TrainingState:
        """Where the training is."""
        return self._saver.state

    def run(self) -> None:
        """Trains all phases, from the last checkpoint on if there is one, and saves the best model by validation loss.

        Raises:
            RunError: the loss is not finite any more, or the records can't be read.
            Terminated: SIGTERM came, and all is saved.
        """
        self._saver.restore()
        if self.is_chief and self.state.history:
            self.folder.write_history(self.state.history)
        phases = phases_of(self.config)
        with self._saver.stop, self._saver.uploads:
            while self.state.phase < len(phases):
                phase = phases[self.state.phase]
                try:
                    self._run_phase(phase)
                except NotFiniteError as error:
                    self._roll_back(phase, error)
        self._val, self.operating_point = self._fix_operating_point()
        if self.is_chief:
            with written(self.folder.model) as temporary:
                self.model.save(temporary)
            self._describe().write(self.folder)

    def evaluate(self) -> list[Evaluation]:
        """Evaluates the saved model on test (where there is one, and it is wanted) and val (unless trained on)."""
        predicted = {}
        if self.config.evaluate_test and self.sources["test"].num_records:
            predicted["test"] = self._predict("test")
        if self._val is not None:
            predicted["val"] = self._val
        return [
            measure(predictions, split, point=self.operating_point, prevalence=self.config.prevalence)
            for split, predictions in predicted.items()
        ]

    def _predict(self, split: str) -> Predictions:
        return predict_split(self._predictor, self.sources[split], split, show_progress=self.is_chief)

    def _fix_operating_point(self) -> tuple[Predictions | None, OperatingPoint]:
        """Predictions for validation and what they fix; where it was trained on, there is but the threshold given."""
        rule = self.config.threshold_rule
        if self.config.train_on_val:
            return None, OperatingPoint(parse_rule(rule)[1], rule)
        val = self._predict("val")
        return val, fit_operating_point(rule, val.labels, val.probabilities)

    def _run_phase(self, phase: Phase) -> None:
        state = self.state
        loop = Loop.of(
            self.config,
            self.model,
            self.strategy,
            phase,
            steps_per_epoch=self._images.num_steps,
            class_weights=self._images.loss_weights,
            seed=self.config.seed + 104729 * state.phase,
            rate_factor=state.rate_factor,
        )
        callbacks = Callbacks(
            own_callbacks(self.config, self.folder.tensorboard if self.is_chief else None),
            self._users_callbacks,
            model=self.model,
            num_epochs=phase.epochs,
            num_steps=self._images.num_steps,
        )
        self._saver.begin_phase(loop, callbacks)
        while state.epoch < phase.epochs and not state.stopped:
            self._run_epoch(loop, phase, callbacks)
        if self.config.keep_checkpoint and state.phase == len(self.config.epochs_by_phase) - 1:
            self._saver.save()
        callbacks.end()
        self.model.optimizer = None  # its state is no part of the saved model
        rows = [row for row in state.history if row["phase"] == phase.name]
        seconds = round(sum(row["seconds"] for row in rows), 1)
        state.end_phase({"name": phase.name, **count_parameters(self.model), "epochs": len(rows), "seconds": seconds})
        with self.strategy.scope():
            self.model.set_weights(self._saver.best_weights)

    def _run_epoch(self, loop: Loop, phase: Phase, callbacks: Callbacks) -> None:
        """One pass over the training images, or what is left of it, and one over those of validation."""
        state = self.state
        callbacks.begin_epoch(len(state.history))
        fold = f"fold {self.config.fold}, " if self.config.fold else ""
        epoch = f"{fold}{phase.name} {state.epoch + 1}/{phase.epochs}"
        with progress_bar(epoch, self._images.num_steps, unit="steps", show=self.is_chief) as bar:
            bar.update(state.step)
            with readable_records(self._images.source):
                for num_steps in self._run_steps(loop, callbacks):
                    bar.update(num_steps)
            self._saver.check_weights()
            with loop.average.in_place() if loop.average else nullcontext():
                logs = self._logs() | self._validate()
                self._keep_if_best(phase, logs)
            bar.set_postfix_str(", ".join(f"{name} {value:.3f}" for name, value in logs.items() if value is not None))
        learning_rate = float(loop.optimizer.learning_rate.numpy())
        state.stopped = callbacks.end_epoch(len(state.history), logs)
        self._saver.tick()
        row = {"phase": phase.name, "epoch": state.epoch + 1, **logs, "learning_rate": learning_rate}
        state.end_epoch({**row, "seconds": round(state.seconds, 2)})
        if self.is_chief:
            self.folder.write_history(state.history)
        self._saver.save_if_due()

    def _keep_if_best(self, phase: Phase, logs: Mapping[str, Any]) -> None:
        """Keeps the weights of an epoch that ends, if it is the best so far (or if there is no telling)."""
        state = self.state
        if self.config.train_on_val or logs["val_loss"] < state.best["val_loss"]:
            state.best = {"phase": phase.name, "epoch": state.epoch + 1, "val_loss": logs.get("val_loss")}
            self._saver.best_weights = self.model.get_weights()

    def _validate(self) -> dict[str, Any]:
        """What is followed on validation. The loss is weighed as in training: the best model is best at just that."""
        if self.config.train_on_val:
            return {}
        val = predict_split(self._predictor, self.sources["val"], "val", show_progress=False)
        numbers = metrics.monitored(val.labels, val.probabilities, val.loss(self._images.class_weights))
        return {f"val_{name}": value for name, value in numbers.items()}

    def _run_steps(self, loop: Loop, callbacks: Callbacks) -> Iterator[int]:
        """Runs the steps of the epoch that are left; yields how many a call of the loop did."""
        config, state, sums = self.config, self.state, EpochSums(self.state)
        distributed = distribute(self._images.batches(len(state.history), state.step), self.strategy)
        # A checkpoint, a stop or a callback comes between two calls.
        most = 1 if callbacks.want_batches else min(config.steps_per_call, config.checkpoint_every_steps or math.inf)
        while state.step < self._images.num_steps:
            num_steps = int(min(most, self._images.num_steps - state.step))
            callbacks.begin_batch(state.step)
            sums.add(num_steps, *loop.train_steps(distributed, num_steps))
            if callbacks.want_batches:
                sums.settle()
                callbacks.end_batch(state.step - 1, self._logs())
            yield num_steps
            self._saver.save_if_due(num_steps, sums)
        sums.check()

    def _logs(self) -> dict[str, Any]:
        """Of the steps of the epoch that are done."""
        state = self.state
        return {
            "loss": state.loss_sum / state.step,
            "accuracy": state.correct_sum / (state.step * self.config.batch_size),
        }

    def _roll_back(self, phase: Phase, error: NotFiniteError) -> None:
        """Goes back to the last good checkpoint, to go on with half the learning rate.

        Raises:
            RunError: that is not wanted, or was done too often.
        """
        said = f"{error} of epoch {self.state.epoch + 1}, phase {phase.name}"
        if self.state.num_rollbacks == MAX_ROLLBACKS:
            raise RunError(f"{said}, after {MAX_ROLLBACKS} rollbacks; try a smaller --learning_rate, with --overwrite")
        self._saver.roll_back()
        back = f"the last good checkpoint ({self.state.place})"
        if self.config.on_nan == "stop":
            raise RunError(
                f"{said}; to go on from {back} with half the learning rate, add --on_nan rollback; "
                f"or start anew with --overwrite and a smaller --learning_rate than {phase.learning_rate:g}"
            )
        logger.warning("%s; back to %s, with half the learning rate", said, back)

    def _describe(self) -> ModelCard:
        """What is needed to use `model.keras`, and how it came about."""
        return ModelCard(
            arch=self.config.arch,
            image_size=self.config.image_size,
            equalization=self.manifest.options["equalization"],
            class_names=self.manifest.class_names,
            dataset_fingerprint=self.manifest.fingerprint,
            **self._images.describe(),
            phases=self.state.phases,
            best=self.state.best,
            **self.operating_point.to_json(),
            **origin_of(self.model, num_replicas=self.strategy.num_replicas_in_sync),
        )
