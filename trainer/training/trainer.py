"""Trains a model through its phases, saves it on the way and keeps the best weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import keras

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar, say
from beam_prep.dataset.manifest import Manifest
from trainer import models
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.read_errors import readable_records
from trainer.data.splits import SplitSource
from trainer.data.training_data import TrainingData
from trainer.device import Computation, NotCompiledError, device_name, keep_autotuned_in, steps_per_call
from trainer.evaluation.predictor import Predictor
from trainer.external.sets import ExternalSet
from trainer.models.outputs import Outputs
from trainer.run.console_lines import epoch_line
from trainer.run.continuation import link_checkpoint
from trainer.run.folder import RunFolder, written
from trainer.run.identity import OWN_OF_A_WORKER
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.run.output import RunOutput
from trainer.run.provenance import origin_of
from trainer.run.speed import SpeedMeter, StepProfile
from trainer.training.callbacks import Callbacks, make_callbacks
from trainer.training.checkpoint import Checkpoint
from trainer.training.checkpoint_manager import CheckpointManager, PhaseRun
from trainer.training.feed import EpochFeed, PhaseInputs
from trainer.training.phases import Phase, phases_of
from trainer.training.state import EpochSums, NotFiniteError, TrainingState
from trainer.training.strategy import check_alike, is_chief, is_multiworker, make_strategy
from trainer.training.train_step import TrainStep
from trainer.training.validation import TrainedModel, Validation

MAX_ROLLBACKS = 3
"""The number of rollbacks in a run after which it fails."""

logger = logging.getLogger(__name__)


class Trainer:
    """A training job.

    Args:
        config: the flags of the job.
        manifest: the manifest of the dataset.
        sources: the splits of the dataset at the image size of the config.
        output: the output folder, which the chief opens.
        cluster: the workers that train together; None where one process trains alone.
        callbacks: Keras callbacks of the user, see `Callbacks`.
        external: the sets of other sources to follow.
        on_epoch: called in the chief with the rows of `history.csv` after each epoch.

    Attributes:
        sources: the splits, or those of the fold if the config names one.
        folder: the run folder.
        is_chief: True if this process writes and prints.
        computation: the precision and the device; a resumed training takes those of its checkpoint.

    Raises:
        UsageError: the devices or the pretrained weights are not there, or the fold is empty; nothing was written.
        RunError: the records can't be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest,
        sources: dict[str, SplitSource],
        output: RunOutput,
        *,
        cluster: Cluster | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        external: Sequence[ExternalSet] = (),
        on_epoch: Callable[[Sequence[Mapping[str, Any]]], object] = lambda history: None,
    ) -> None:
        self.config = config
        self.strategy = make_strategy(config, cluster)
        self.computation = Computation.of(config)
        shared = {name: value for name, value in config.to_json().items() if name not in OWN_OF_A_WORKER}
        shared["data"] = [each.fingerprint for each in (manifest, *(each.manifest for each in external))]
        check_alike(self.strategy, {**shared, **self.computation.choices})
        self._data = TrainingData(config, manifest, sources, self.strategy, cluster)
        self.sources, self._outputs = self._data.sources, Outputs.of(manifest)
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            self.model = models.build(config, self._outputs)
        self._validation = Validation.of(Predictor(self.model, self.strategy), self._data, external)
        self.is_chief = is_chief(self.strategy)
        self._development = {each.name: each.manifest.fingerprint for each in external if each.role == "development"}
        self.folder, self._output = RunFolder.at(config.output), output
        if self.is_chief:
            output.open()
            link_checkpoint(config)
        keep_autotuned_in(self.folder.checkpoints)
        self._checkpoints = CheckpointManager(self.model, self.strategy, self.folder, config.checkpoint_every_steps)
        self._user_callbacks, self._on_epoch = callbacks, on_epoch
        self._speed = SpeedMeter(config.global_batch_size)
        self._tensorboard = self.folder.tensorboard if self.is_chief else None
        self._profile = StepProfile(self._tensorboard if config.profile else None)

    @property
    def state(self) -> TrainingState:
        """The position of the training."""
        return self._checkpoints.state

    def speed(self) -> dict[str, Any]:
        """Returns the entry `speed` of `metrics.json`, see `SpeedMeter.to_json`."""
        return self._speed.to_json(num_replicas=self.strategy.num_replicas_in_sync, device=device_name())

    def run(self) -> TrainedModel:
        """Trains all phases, from the last checkpoint if there is one, and saves the best model by `--select_by`.

        Raises:
            RunError: the loss is not finite any more, or the records can't be read.
            Terminated: SIGTERM arrived; the training is saved.
        """
        restored = self._checkpoints.restore()
        if restored is not None:
            self.computation = self.computation.resumed(
                self.state.computation, self.folder, auto=self.config.jit_compile == "auto"
            )
        self.state.computation = self.computation.to_json()
        if self.is_chief:
            self._output.renew()
        if self.is_chief and self.state.history:
            self.folder.write_history(self.state.history)
        phases = phases_of(self.config)
        with self._checkpoints.sigterm, self._checkpoints.uploads:
            while self.state.phase < len(phases):
                phase = phases[self.state.phase]
                try:
                    self._run_phase(phase, restored)
                    restored = None
                except NotFiniteError as error:
                    restored = self._roll_back(phase, error)
        self._profile.close()
        trained = self._validation.fit(self.config.threshold_rule, tta=self.config.tta, show_progress=self.is_chief)
        if self.is_chief:
            with written(self.folder.model) as temporary:
                self.model.save(temporary)
            self._describe(trained.operating_point).write(self.folder)
        return trained

    def _run_phase(self, phase: Phase, restored: Checkpoint | None) -> None:
        """Trains a phase to its end, from a checkpoint if one is given, and puts its best weights into the model."""
        state = self.state
        run = self._make_phase_run(phase)
        self._checkpoints.begin_phase(run, restored)
        self._speed.begin_phase()
        with run.feed:
            while state.epoch < phase.epochs and not state.stopped:
                self._run_epoch(run)
        if self.config.keep_checkpoint and state.phase == len(self.config.epochs_by_phase) - 1:
            self._checkpoints.save(run)
        run.callbacks.end()
        self.model.optimizer = None  # so that its state is not saved with the model
        rows = [row for row in state.history if row["phase"] == phase.name]
        seconds = round(sum(row["seconds"] for row in rows), 1)
        state.end_phase(phase.described(self.model) | {"epochs": len(rows), "seconds": seconds})
        with self.strategy.scope():
            self.model.set_weights(self._checkpoints.best_weights)

    def _make_phase_run(self, phase: Phase) -> PhaseRun:
        """Makes the training step of a phase, its callbacks, and its inputs."""
        inputs = PhaseInputs.of(self.config, phase, self._data, self._validation, show_progress=self.is_chief)
        step = TrainStep.for_phase(
            replace(inputs.config, jit_compile="on" if self.computation.jit_compile else "off"),
            self.model,
            self.strategy,
            phase,
            steps_per_epoch=self._data.num_steps,
            outputs=self._outputs,
            class_weights=self._data.loss_weights,
            seed=self.config.seed + 104729 * self.state.phase,
            rate_factor=self.state.rate_factor,
            rows=inputs.held.rows if inputs.held else None,
            of_features=inputs.of_features,
        )
        num_steps = self._data.num_steps
        own = make_callbacks(self.config, self._tensorboard, has_accuracy=self._outputs.has_accuracy)
        callbacks = Callbacks(own, self._user_callbacks, model=self.model, num_epochs=phase.epochs, num_steps=num_steps)
        end = len(self.state.history) - self.state.epoch + phase.epochs
        return PhaseRun(phase, step, callbacks, EpochFeed(self._data, inputs.held, end), inputs.validation)

    def _run_epoch(self, run: PhaseRun) -> None:
        """Passes over the training images, or over what is left of them in a resumed epoch, and over validation."""
        state = self.state
        run.callbacks.begin_epoch(len(state.history))
        self._speed.begin_epoch()
        fold = f"fold {self.config.division}, " if self.config.division else ""
        epoch = f"{fold}{run.phase.name} {state.epoch + 1}/{run.phase.epochs}"
        if run.step.is_to_be_compiled:
            say(f"compiling the training step with XLA, about {run.step.compile_s} s", show=self.is_chief)
        with progress_bar(epoch, self._data.num_steps, unit="steps", show=self.is_chief, leave=False) as bar:
            bar.update(state.step)
            with readable_records(self._data.source):
                for num_steps in self._run_steps(run):
                    bar.update(num_steps)
                    bar.set_postfix_str(self._speed.epoch_rate, refresh=False)
            self._checkpoints.check_weights()
            with run.step.average.in_place() if run.step.average else nullcontext():
                logs = self._logs() | run.validation.logs()
                if state.note_if_best(run.phase, logs, *self.config.selected_by):
                    self._checkpoints.best_weights = self.model.get_weights()
        learning_rate = float(run.step.optimizer.learning_rate.numpy())
        state.stopped = run.callbacks.end_epoch(len(state.history), logs)
        self._checkpoints.add_elapsed_time()
        say(epoch_line(epoch, logs, state.seconds, self._speed.epoch_rate), show=self.is_chief)
        row = {"phase": run.phase.name, "epoch": state.epoch + 1, **logs, "learning_rate": learning_rate}
        state.end_epoch({**row, "seconds": round(state.seconds, 3)})
        if self.is_chief:
            self.folder.write_history(state.history)
            self._on_epoch(state.history)
        self._checkpoints.save_if_due(run)

    def _run_steps(self, run: PhaseRun) -> Iterator[int]:
        """Runs the remaining steps of the epoch; yields the number of steps of each call to the device."""
        config, state, sums = self.config, self.state, EpochSums(self.state)
        epoch = len(state.history)
        batches = run.feed.batches(epoch, state.step)
        # Checkpoints, stops and callbacks come between two calls.
        per_call = min(steps_per_call(config), config.checkpoint_every_steps or math.inf)
        per_call = 1 if run.callbacks.want_batches else per_call

        while state.step < self._data.num_steps:
            num_steps = self._profile.begin(int(min(per_call, self._data.num_steps - state.step)))
            run.callbacks.begin_batch(state.step)
            try:
                with self._speed.steps(num_steps, run.step.input_clock.waited_s):
                    sums.add(num_steps, *run.step.run(batches, num_steps))
            except NotCompiledError as error:
                if self._checkpoints.sigterm.received and not is_multiworker(self.strategy):
                    self._checkpoints.save_if_due(run, sums=sums)  # a signal to a whole shell stops XLA's compiler, too
                self.computation = self.computation.without_xla(error, must=self.config.jit_compile == "on")
                self.state.computation = self.computation.to_json()
                run.step.run_without_xla()
                batches = run.feed.batches(epoch, state.step)
                continue
            run.feed.prepare(epoch + 1)
            self._profile.end(num_steps, sums.settle)
            if run.callbacks.want_batches:
                sums.settle()
                run.callbacks.end_batch(state.step - 1, self._logs())
            yield num_steps
            self._checkpoints.save_if_due(run, num_steps, sums)
        with self._speed.steps(0, run.step.input_clock.waited_s):
            sums.check()

    def _logs(self) -> dict[str, float]:
        """Returns the loss and the accuracy, if there is one, of the training steps of the epoch so far."""
        return self.state.logs(self.config.global_batch_size, has_accuracy=self._outputs.has_accuracy)

    def _roll_back(self, phase: Phase, error: NotFiniteError) -> Checkpoint | None:
        """Goes back to the last good checkpoint, from which the phase resumes with half the learning rate.

        Raises:
            RunError: the user does not want a rollback, or there were too many.
        """
        failure = f"{error} of epoch {self.state.epoch + 1}, phase {phase.name}"
        if self.state.num_rollbacks == MAX_ROLLBACKS:
            raise RunError(
                f"{failure}, after {MAX_ROLLBACKS} rollbacks; try a smaller --learning_rate, with --overwrite"
            )
        restored = self._checkpoints.roll_back()
        checkpoint = f"the last good checkpoint ({self.state.place})"
        if self.config.on_nan == "stop":
            raise RunError(
                f"{failure}; to resume from {checkpoint} with half the learning rate, add --on_nan rollback; "
                f"or start anew with --overwrite and a smaller --learning_rate than {phase.learning_rate:g}"
            )
        logger.warning("%s; back to %s, with half the learning rate", failure, checkpoint)
        return restored

    def _describe(self, operating_point: OperatingPoint) -> ModelCard:
        """Returns the content of `model.json`: what a user of `model.keras` needs, and how the model was made."""
        return ModelCard(
            arch=self.config.arch,
            image_size=self.config.image_size,
            **self._data.describe(),
            phases=self.state.phases,
            best=self.state.best,
            development=self._development,
            operating_point=operating_point,
            **origin_of(self.model, num_replicas=self.strategy.num_replicas_in_sync),
            **self.computation.choices,
            tta=self.config.tta or None,
        )
