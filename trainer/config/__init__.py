"""Defines the flags of all commands: their types, defaults, units and help."""

from trainer.config.train import FROM_SCRATCH, MIN_IMAGE_SIZE, TrainConfig
from trainer.config.train_flags import Arch

__all__ = ["FROM_SCRATCH", "MIN_IMAGE_SIZE", "Arch", "TrainConfig"]
