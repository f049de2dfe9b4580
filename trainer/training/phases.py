"""The phases of a training: what is frozen, which optimizer, which highest learning rate, how many epochs."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.models import base_of


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: `train` for a network from scratch; `head`, then `fine_tune` for a pretrained one.
        epochs: how many.
        optimizer: `rmsprop`, `adam` or `sgd`.
        learning_rate: its highest.
        unfreeze_layers: how many of the last layers of the base are trained; None: the network has no base.
    """

    name: str
    epochs: int
    optimizer: str
    learning_rate: float
    unfreeze_layers: int | None = None


def phases_of(config: TrainConfig) -> list[Phase]:
    """The phases of a configuration, in order; the study's settings by default."""
    wanted = None if config.optimizer == "auto" else config.optimizer
    if config.arch in FROM_SCRATCH:
        usual = "rmsprop" if config.arch == "baseline_cnn" else "adam"
        return [Phase("train", config.epochs, wanted or usual, config.learning_rate or 1e-3)]
    head = Phase("head", config.epochs, wanted or "adam", config.learning_rate or 5e-5, unfreeze_layers=0)
    if len(config.epochs_by_phase) == 1:
        return [head]
    return [
        head,
        Phase(
            "fine_tune",
            config.fine_tune_epochs,
            wanted or "adam",
            config.fine_tune_learning_rate,
            unfreeze_layers=config.unfreeze_layers,
        ),
    ]


def freeze(model: keras.Model, phase: Phase) -> None:
    """Makes just the layers trainable that the phase trains."""
    base = base_of(model)
    if base is None or phase.unfreeze_layers is None:
        return
    base.trainable = phase.unfreeze_layers > 0
    if phase.unfreeze_layers:
        for layer in base.layers[: -phase.unfreeze_layers]:
            layer.trainable = False


def count_parameters(model: keras.Model) -> dict[str, int]:
    """Total and trainable numbers, without the state of random generators, which is no parameter."""

    def count(variables: list[keras.Variable]) -> int:
        return sum(int(np.prod(variable.shape)) for variable in variables)

    return {"num_parameters": count(model.weights), "num_trainable": count(model.trainable_weights)}
