"""Defines the phases of a training: frozen layers, optimizer, highest learning rate, number of epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.models import base_of


@dataclass(frozen=True)
class Phase:
    """A phase of a training.

    Attributes:
        name: `train` for a network from scratch; `head`, then `fine_tune` for a pretrained one.
        epochs: the number of epochs.
        optimizer: the kind of optimizer: `rmsprop`, `adam` or `sgd`.
        learning_rate: the highest learning rate.
        unfreeze_layers: the number of last layers of the base that are trained; None if the network has no base.
        on_features: True if the base runs once over the data, so that the head trains on its features.
    """

    name: str
    epochs: int
    optimizer: str
    learning_rate: float
    unfreeze_layers: int | None = None
    on_features: bool = False

    def described(self, model: keras.Model) -> dict[str, Any]:
        """Returns the entries for `model.json` that are known before the phase has run."""
        chosen = {"name": self.name, "optimizer": self.optimizer, "learning_rate": self.learning_rate}
        return chosen | count_parameters(model)


def phases_of(config: TrainConfig) -> list[Phase]:
    """Returns the phases of a configuration in order, by default with the settings of the study."""
    wanted = None if config.optimizer == "auto" else config.optimizer
    if config.arch in FROM_SCRATCH:
        usual = "rmsprop" if config.arch == "baseline_cnn" else "adam"
        return [Phase("train", config.epochs, wanted or usual, config.learning_rate or 1e-3)]
    fixed_images = not (config.augment or config.cutout or config.mixup_alpha or config.shard_files)
    head = Phase(
        "head",
        config.epochs,
        wanted or "adam",
        config.learning_rate or 5e-5,
        unfreeze_layers=0,
        on_features=config.feature_cache == "on" or (config.feature_cache == "auto" and fixed_images),
    )
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
    """Freezes the layers of the base that the phase does not train."""
    base = base_of(model)
    if base is None or phase.unfreeze_layers is None:
        return
    base.trainable = phase.unfreeze_layers > 0
    if phase.unfreeze_layers:
        for layer in base.layers[: -phase.unfreeze_layers]:
            layer.trainable = False


def count_parameters(model: keras.Model) -> dict[str, int]:
    """Counts all parameters and the trainable ones; the state of random generators does not count as parameters."""

    def count(variables: list[keras.Variable]) -> int:
        return sum(int(np.prod(variable.shape)) for variable in variables)

    return {"num_parameters": count(model.weights), "num_trainable": count(model.trainable_weights)}
