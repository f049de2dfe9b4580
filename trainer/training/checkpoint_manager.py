"""Saving and restoring a training: when it is time, when SIGTERM asks for it, and all that belongs to it."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError, Terminated, UsageError
from trainer.run.folder import RunFolder
from trainer.run.uploads import Uploads
from trainer.training.callbacks import Callbacks
from trainer.training.checkpoint import Checkpoint, CheckpointFolder
from trainer.training.optimizer import halve_learning_rate
from trainer.training.state import TrainingState
from trainer.training.strategy import is_chief, is_multiworker, sum_of_workers
from trainer.training.sums import EpochSums, NotFiniteError
from trainer.training.train_step import Loop

MIN_SECONDS = 30.0  # between two saves by time
MAX_SHARE = 0.02  # of the time that saving by time may take
AGREE_STEPS = 10  # between two questions to the other workers whether SIGTERM came


class SaveClock:
    """Says when the next checkpoint is due.

    Args:
        every_steps: after so many steps; 0: by time, so that saving takes no more than `MAX_SHARE` of it.
    """

    def __init__(self, every_steps: int) -> None:
        self._every_steps = every_steps
        self._steps = 0
        self._cost = 0.0
        self._saved_at = time.monotonic()

    def add_steps(self, num_steps: int) -> None:
        """Counts steps that were done."""
        self._steps += num_steps

    def is_due(self) -> bool:
        """Whether it is time to save."""
        if self._every_steps:
            return self._steps >= self._every_steps
        return time.monotonic() - self._saved_at >= max(MIN_SECONDS, self._cost / MAX_SHARE)

    def saved(self, seconds: float) -> None:
        """Notes a save and what it took."""
        self._steps = 0
        self._cost = seconds
        self._saved_at = time.monotonic()


class StopRequest:
    """SIGTERM as a request, for as long as the block runs: it is looked at between steps. A second one kills."""

    def __init__(self) -> None:
        self.is_set = False

    def __enter__(self) -> StopRequest:
        self._of_main = threading.current_thread() is threading.main_thread()  # others can't take signals
        if self._of_main:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._of_main:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Saver:
    """The state of a training, its arrays and its checkpoints. Of several workers the chief writes them, all read them.

    Args:
        model: of all phases.
        strategy: it was built under.
        folder: of the run.
        every_steps: see `SaveClock`.

    Attributes:
        state: where the training is.
        best_weights: those of `state.best`.
        stop: to be entered for as long as saving makes sense.
        uploads: of the checkpoints, if the run is in a bucket; to be entered likewise.
    """

    def __init__(
        self, model: keras.Model, strategy: tf.distribute.Strategy, folder: RunFolder, every_steps: int
    ) -> None:
        self.state = TrainingState(num_replicas=strategy.num_replicas_in_sync)
        self.best_weights: list[np.ndarray] = []
        self.stop = StopRequest()
        self._model = model
        self._strategy = strategy
        self._is_chief = is_chief(strategy)
        self.uploads = Uploads(folder)
        self._run = folder
        self._folder = CheckpointFolder(folder.checkpoints)
        self._clock = SaveClock(every_steps)
        self._restored: Checkpoint | None = None  # until the phase has taken its own part of it
        self._is_rolled_back = False
        self._ticked = 0.0

    def restore(self) -> None:
        """Goes to the last good checkpoint, if there is one; what is of the phase follows in `begin_phase`.

        Raises:
            UsageError: it is of another number of replicas.
            RunError: there are checkpoints, but none that can be read.
        """
        checkpoint = self._load()
        if checkpoint is None:
            return
        state = TrainingState(**checkpoint.state)
        if state.num_replicas != self.state.num_replicas:
            raise UsageError(
                f"{self._folder.path}: an unfinished run of {state.num_replicas} replicas, found "
                f"{self.state.num_replicas} here; each draws its own random numbers: give it as many, or --overwrite"
            )
        self.state = state
        self.best_weights = checkpoint.arrays["best"]
        with self._strategy.scope():
            self._model.set_weights(checkpoint.arrays["model"])
        self._restored = checkpoint

    def roll_back(self) -> None:
        """As `restore`, and the phase goes on with half the learning rate."""
        self.restore()
        self.state.num_rollbacks += 1
        self.state.rate_factor /= 2
        self._is_rolled_back = True

    def begin_phase(self, loop: Loop, callbacks: Callbacks) -> None:
        """Starts the callbacks; brings them, optimizer and average to where they were, where a phase goes on."""
        self._loop, self._callbacks = loop, callbacks
        self._ticked = time.monotonic()
        callbacks.begin(self.state.callbacks)
        if self._restored is not None:
            with self._strategy.scope():
                for variable, array in zip(loop.optimizer.variables, self._restored.arrays["optimizer"], strict=True):
                    variable.assign(array)
            if loop.average:
                loop.average.assign(self._restored.arrays["average"])
            self._restored = None
        elif not self._folder.numbers():
            self.save()  # from its first step on, a run has something to go back to
        if self._is_rolled_back:
            halve_learning_rate(loop.optimizer)
            self._is_rolled_back = False
            self.save()

    def save_if_due(self, num_steps: int = 0, sums: EpochSums | None = None) -> None:
        """To be called between steps and after epochs.

        Args:
            num_steps: that were done since the last call.
            sums: of these steps, if the epoch is not over.

        Raises:
            Terminated: SIGTERM came; all is saved.
        """
        asked = self._is_asked(num_steps)
        self._clock.add_steps(num_steps)
        if asked or self._clock.is_due():
            self.save(sums)
        if asked:
            sum_of_workers(self._strategy, 0)  # nobody leaves before the chief has written
            raise Terminated(f"SIGTERM came {self.state.place}; all is saved: the same command goes on from there")

    def save(self, sums: EpochSums | None = None) -> None:
        """Saves, unless there are numbers that are not finite: the next check of the sums tells."""
        if not self._is_chief:
            return
        started = time.monotonic()
        weights = self._model.get_weights()
        if (sums is None or sums.settle()) and _are_finite(weights):
            self.tick()
            self.state.callbacks = self._callbacks.state()
            arrays = {
                "model": weights,
                "optimizer": [variable.numpy() for variable in self._loop.optimizer.variables],
                "best": self.best_weights,
            }
            if self._loop.average:
                arrays["average"] = self._loop.average.arrays()
            self._folder.save(self.state.to_json(), arrays)
            self.uploads.offer()
        self._clock.saved(time.monotonic() - started)

    def check_weights(self) -> None:
        """Raises a `NotFiniteError` if they are broken, which a loss need not tell: ReLU makes 0 of NaN."""
        if not _are_finite(self._model.get_weights()):
            raise NotFiniteError(f"the weights are not finite any more at step {self.state.step}")

    def tick(self) -> None:
        """Adds the time since the last call to that of the epoch."""
        now = time.monotonic()
        self.state.seconds += now - self._ticked
        self._ticked = now

    def _load(self) -> Checkpoint | None:
        """The checkpoint that the chief finds good, in every worker."""
        if is_multiworker(self._strategy):
            self.uploads.settle()  # the others are to find it
        found = self._folder.load() if self._is_chief else None
        number = sum_of_workers(self._strategy, found.number if found else 0)
        if self._is_chief or not number:
            return found
        try:
            self._run.fetch("checkpoints/")
            return self._folder.load(number)
        except RunError as error:
            raise RunError(
                f"{error}; all workers need the same --output, on a file system or in a bucket that they share"
            ) from None

    def _is_asked(self, num_steps: int) -> bool:
        """Whether SIGTERM came, to this worker or another one."""
        if not is_multiworker(self._strategy):
            return self.stop.is_set
        if self.state.step % AGREE_STEPS >= max(num_steps, 1):
            return False
        return sum_of_workers(self._strategy, int(self.stop.is_set)) > 0


def _are_finite(arrays: list[np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)
