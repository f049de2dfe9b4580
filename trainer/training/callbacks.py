"""Calls Keras callbacks around the training steps: the schedule, the logs of TensorBoard, and the user's callbacks."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from beam_prep.console.errors import UsageError
from beam_prep.storage.claims import is_shown_by_fuse
from trainer.config.train import TrainConfig
from trainer.training.library_internals import ClosingTensorBoard


class Callbacks:
    """The Keras callbacks of one phase.

    Epochs are counted from 0 over all phases. `on_train_begin` and `on_train_end` are called once in a phase, and
    `on_train_begin` again when a training resumes. Logs hold `loss`, `accuracy`, `val_loss`, `val_accuracy`,
    `val_auroc`, and `external_NAME_loss` and `external_NAME_auroc` of each set of `--external` (an AUROC only if it is
    defined, an accuracy not for findings); after a batch, `loss` and `accuracy` of the epoch so far.

    Args:
        own: the callbacks of `make_callbacks`; they are not called for batches.
        users: the callbacks of the user; with one that looks at batches, the training waits for every step.
        model: the model; its `optimizer` is the one of the phase.
        num_epochs: the number of epochs in the phase.
        num_steps: the number of steps in an epoch.
    """

    def __init__(
        self,
        own: Sequence[keras.callbacks.Callback],
        users: Sequence[keras.callbacks.Callback],
        *,
        model: keras.Model,
        num_epochs: int,
        num_steps: int,
    ) -> None:
        self._model = model
        self._list = keras.callbacks.CallbackList([*own, *users], model=model, epochs=num_epochs, steps=num_steps)
        # TensorBoard has no state, and only the chief of several workers has that callback.
        self._stateful = [c for c in [*own, *users] if not isinstance(c, keras.callbacks.TensorBoard)]
        self._batch_callbacks = [callback for callback in users if _looks_at_batches(callback)]

    @property
    def want_batches(self) -> bool:
        """True if a callback looks at batches."""
        return bool(self._batch_callbacks)

    def begin(self, state: Sequence[dict[str, Any]] = ()) -> None:
        """Starts the phase; restores the numbers of the callbacks if a state is given.

        Raises:
            UsageError: the state was saved with other callbacks.
        """
        self._model.stop_training = False
        self._list.on_train_begin()
        if not state:
            return
        found, expected = [[entry["class"] for entry in entries] for entries in (self.state(), state)]
        if found != expected:
            raise UsageError(f"the training was started with the callbacks {expected}, found {found}")
        for callback, entry in zip(self._stateful, state, strict=True):
            vars(callback).update(entry["numbers"])

    def begin_epoch(self, epoch: int) -> None:
        """Starts an epoch, counted from 0 over all phases."""
        self._list.on_epoch_begin(epoch)

    def begin_batch(self, step: int) -> None:
        """Starts a batch; `step` is counted from 0 in the epoch."""
        for callback in self._batch_callbacks:
            callback.on_train_batch_begin(step, {})

    def end_batch(self, step: int, logs: dict[str, float]) -> None:
        """Ends a batch; `step` is counted from 0 in the epoch."""
        for callback in self._batch_callbacks:
            callback.on_train_batch_end(step, dict(logs))

    def end_epoch(self, epoch: int, logs: dict[str, Any]) -> bool:
        """Ends an epoch; returns True if a callback asks to end the phase."""
        self._list.on_epoch_end(epoch, {name: value for name, value in logs.items() if value is not None})
        return bool(self._model.stop_training)

    def end(self) -> None:
        """Ends the phase."""
        self._list.on_train_end()

    def state(self) -> list[dict[str, Any]]:
        """Returns what a checkpoint saves of every callback: its class and its public attributes that are numbers.

        Attributes that are arguments of the constructor are left out: the resumed command gives them again.
        """
        return [
            {
                "class": type(callback).__name__,
                "numbers": {
                    name: value if isinstance(value, int) else float(value)
                    for name, value in vars(callback).items()
                    if not name.startswith("_") and name not in _constructor_arguments(callback) and _is_number(value)
                },
            }
            for callback in self._stateful
        ]


def make_callbacks(
    config: TrainConfig, tensorboard: Path | None, *, has_accuracy: bool = True
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that a configuration asks for.

    Args:
        config: the flags of the training.
        tensorboard: the folder of the logs of TensorBoard; None writes none.
        has_accuracy: False for findings, which have none: a plateau is one of the loss then.
    """
    own: list[keras.callbacks.Callback] = []
    if config.schedule == "plateau":
        metric, direction = ("accuracy", "max") if has_accuracy else ("loss", "min")
        own.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=metric if config.train_on_val else f"val_{metric}",
                mode=direction,
                factor=0.2,
                patience=config.plateau_patience,
                min_lr=1e-6,
            )
        )
    if config.early_stopping_patience:
        column, direction = config.selected_by
        own.append(keras.callbacks.EarlyStopping(column, mode=direction, patience=config.early_stopping_patience))
    if tensorboard:
        # In a bucket that FUSE shows, what a file holds appears when it is closed.
        logs = ClosingTensorBoard if is_shown_by_fuse(tensorboard) else keras.callbacks.TensorBoard
        own.append(logs(str(tensorboard), write_graph=False))
    return own


def _constructor_arguments(callback: keras.callbacks.Callback) -> set[str]:
    return set(inspect.signature(type(callback).__init__).parameters)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _looks_at_batches(callback: keras.callbacks.Callback) -> bool:
    plain = keras.callbacks.Callback
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(type(callback), name) is not getattr(plain, name) for name in names)
