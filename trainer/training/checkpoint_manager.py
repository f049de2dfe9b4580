"""Saves a training on its way and restores it: by time or steps, when SIGTERM arrives, and after a loss of NaN."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError, Terminated, UsageError
from beam_prep.console.progress import say
from trainer.device import autotuned
from trainer.run.folder import RunFolder, written
from trainer.run.uploads import Uploads
from trainer.training.callbacks import Callbacks
from trainer.training.checkpoint import Checkpoint, CheckpointFolder
from trainer.training.feed import EpochFeed
from trainer.training.optimizer import halve_learning_rate
from trainer.training.phases import Phase
from trainer.training.state import EpochSums, NotFiniteError, TrainingState
from trainer.training.strategy import is_chief, is_multiworker, sum_of_workers
from trainer.training.train_step import TrainStep
from trainer.training.validation import Validation

logger = logging.getLogger(__name__)

MIN_SAVE_INTERVAL_S = 30.0
"""The shortest time between two checkpoints that are saved by time."""

MAX_SAVE_SHARE = 0.02
"""The largest share of the training time that saving by time may take."""

AGREE_EVERY_STEPS = 10
"""The number of steps after which the workers ask each other whether SIGTERM arrived."""


class SaveClock:
    """Tells when the next checkpoint is due.

    Args:
        every_steps: the number of steps between checkpoints; 0 saves by time, at most `MAX_SAVE_SHARE` of it.
    """

    def __init__(self, every_steps: int) -> None:
        self._every_steps = every_steps
        self._steps = 0
        self._save_s = 0.0
        self._saved_at = time.monotonic()

    def add_steps(self, num_steps: int) -> None:
        """Counts finished steps."""
        self._steps += num_steps

    def is_due(self) -> bool:
        """Returns True if it is time to save."""
        if self._every_steps:
            return self._steps >= self._every_steps
        return time.monotonic() - self._saved_at >= max(MIN_SAVE_INTERVAL_S, self._save_s / MAX_SAVE_SHARE)

    def restart(self, save_s: float) -> None:
        """Starts to wait for the next checkpoint; the last one took `save_s` seconds."""
        self._steps = 0
        self._save_s = save_s
        self._saved_at = time.monotonic()


class SigtermHandler:
    """Notes that SIGTERM arrived, so that the training stops between two steps; a second SIGTERM kills at once.

    It is active inside its `with` block, and only in the main thread: other threads cannot handle signals.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> SigtermHandler:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass(frozen=True)
class PhaseRun:
    """A phase in training: its settings, its compiled step with the optimizer, its callbacks and its inputs."""

    phase: Phase
    step: TrainStep
    callbacks: Callbacks
    feed: EpochFeed
    validation: Validation


class CheckpointManager:
    """Holds the state of a training, saves it as checkpoints and restores it; of several workers the chief writes.

    Args:
        model: the model of all phases.
        strategy: the strategy that the model was built under.
        folder: the run folder.
        every_steps: see `SaveClock`.

    Attributes:
        state: the position of the training.
        best_weights: the weights that `state.best` describes.
        sigterm: the handler of SIGTERM; to be entered while the training can be saved.
        uploads: the uploads of checkpoints, if the run is in a bucket; to be entered likewise.
    """

    def __init__(
        self, model: keras.Model, strategy: tf.distribute.Strategy, folder: RunFolder, every_steps: int
    ) -> None:
        self.state = TrainingState(num_replicas=strategy.num_replicas_in_sync)
        self.best_weights: list[np.ndarray] = []
        self.sigterm = SigtermHandler()
        self.uploads = Uploads(folder)
        self._model = model
        self._strategy = strategy
        self._is_chief = is_chief(strategy)
        self._run_folder = folder
        self._checkpoints = CheckpointFolder(folder.checkpoints)
        self._clock = SaveClock(every_steps)
        self._timed_until = time.monotonic()

    def restore(self) -> Checkpoint | None:
        """Restores state and weights from the last good checkpoint, if there is one.

        Returns:
            The checkpoint, from which `begin_phase` restores the rest; None if the training starts anew.

        Raises:
            UsageError: the checkpoint was made with another number of replicas.
            RunError: there are checkpoints, but none can be read.
        """
        checkpoint = self._load()
        if checkpoint is None:
            return None
        try:
            state = TrainingState(**checkpoint.state)
        except TypeError:
            raise UsageError(
                f"{self._checkpoints.path}: the state of a checkpoint has unknown entries; start anew with --overwrite"
            ) from None
        if state.num_replicas != self.state.num_replicas:
            raise UsageError(
                f"{self._checkpoints.path}: an unfinished run of {state.num_replicas} replicas, found "
                f"{self.state.num_replicas} here; each draws its own random numbers: give it as many, or --overwrite"
            )
        self.state = state
        self.best_weights = checkpoint.of_group("best")
        with self._strategy.scope():
            self._model.set_weights(checkpoint.of_group("model", self._model.weights))
        return checkpoint

    def roll_back(self) -> Checkpoint | None:
        """Restores like `restore`, to resume with half the learning rate."""
        checkpoint = self.restore()
        self.state.num_rollbacks += 1
        self.state.rate_factor /= 2
        return checkpoint

    def begin_phase(self, run: PhaseRun, restored: Checkpoint | None) -> None:
        """Starts the callbacks; restores them, the optimizer and the average of a phase that is resumed."""
        self._timed_until = time.monotonic()
        run.callbacks.begin(self.state.callbacks)
        if restored is not None:
            with self._strategy.scope():
                variables = run.step.optimizer.variables
                for variable, array in zip(variables, restored.of_group("optimizer", variables), strict=True):
                    variable.assign(array)
            if run.step.average:
                run.step.average.assign(restored.of_group("average"))
            if self.state.num_rollbacks > TrainingState(**restored.state).num_rollbacks:
                halve_learning_rate(run.step.optimizer)
                self.save(run)
            elif self._is_chief:
                say(f"resuming from {self.state.resumes_at(run.phase)}")
        elif not self._checkpoints.numbers():
            self.save(run)  # so that a run can go back to a checkpoint from its first step on

    def save_if_due(self, run: PhaseRun, num_steps: int = 0, sums: EpochSums | None = None) -> None:
        """Saves if it is time to; to be called between steps and after epochs.

        Args:
            run: the current phase.
            num_steps: the number of steps since the last call.
            sums: the sums of these steps, if the epoch is not over.

        Raises:
            Terminated: SIGTERM arrived; the training is saved.
        """
        must_stop = self._must_stop(num_steps)
        self._clock.add_steps(num_steps)
        if must_stop or self._clock.is_due():
            self.save(run, sums)
        if must_stop:
            sum_of_workers(self._strategy, 0)  # no worker leaves before the chief has written
            raise Terminated(
                f"SIGTERM arrived {self.state.place}; all is saved: the same command resumes the training there"
            )

    def save(self, run: PhaseRun, sums: EpochSums | None = None) -> None:
        """Saves a checkpoint, unless numbers are not finite: the next check of the sums raises then."""
        if not self._is_chief:
            return
        started = time.monotonic()
        weights = self._model.get_weights()
        if (sums is None or sums.settle()) and _are_finite(weights):
            self.add_elapsed_time()
            self.state.callbacks = run.callbacks.state()
            arrays = {
                "model": weights,
                "optimizer": [variable.numpy() for variable in run.step.optimizer.variables],
                "best": self.best_weights,
            }
            if run.step.average:
                arrays["average"] = run.step.average.arrays()
            self._keep_autotuned()
            self._checkpoints.save(self.state.to_json(), arrays)
            self.uploads.offer()
        self._clock.restart(time.monotonic() - started)

    def check_weights(self) -> None:
        """Raises a `NotFiniteError` if the weights are broken. The loss may not show it: ReLU turns NaN into 0."""
        values = [weight.value for weight in self._model.weights if weight.dtype.startswith(("float", "bfloat"))]
        # Where the weights are: to fetch them all takes as long as many steps.
        are_finite = [tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(value))) for value in values]
        if not tf.reduce_all(are_finite):
            raise NotFiniteError(f"the weights are not finite any more at step {self.state.step}")

    def add_elapsed_time(self) -> None:
        """Adds the time since the last call, or since the phase began, to the seconds of the epoch."""
        now = time.monotonic()
        self.state.seconds += now - self._timed_until
        self._timed_until = now

    def _keep_autotuned(self) -> None:
        """Copies what XLA has timed so far into the folder of the checkpoints, for `keep_autotuned_in`."""
        chosen = autotuned()
        if chosen is None:
            return
        kept = self._run_folder.checkpoints / chosen.name
        if not kept.exists() or kept.stat().st_mtime < chosen.stat().st_mtime:
            with written(kept) as temporary:
                shutil.copyfile(chosen, temporary)

    def _load(self) -> Checkpoint | None:
        """Loads the checkpoint that the chief finds good, in every worker."""
        if is_multiworker(self._strategy):
            self.uploads.settle()  # so that the other workers find it in the bucket
        checkpoint = self._checkpoints.load() if self._is_chief else None
        number = sum_of_workers(self._strategy, checkpoint.number if checkpoint else 0)
        if self._is_chief or not number:
            return checkpoint
        try:
            self._run_folder.fetch("checkpoints/")
            return self._checkpoints.load(number)
        except RunError as error:
            raise RunError(
                f"{error}; all workers need the same --output, on a file system or in a bucket that they share"
            ) from None

    def _must_stop(self, num_steps: int) -> bool:
        """Returns True if SIGTERM arrived, in this worker or in another one."""
        if not is_multiworker(self._strategy):
            return self.sigterm.received
        if self.state.step % AGREE_EVERY_STEPS >= max(num_steps, 1):
            return False
        return sum_of_workers(self._strategy, int(self.sigterm.received)) > 0


def _are_finite(arrays: list[np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)
