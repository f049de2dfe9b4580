"""Changes training images at random, on the device: one module for each kind of change.

Every kind is a function of the images and of a seed, so that a resumed training draws what an undisturbed one draws.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.augmentation.affine import random_affine
from trainer.augmentation.draws import fold_in
from trainer.augmentation.holes import border, cutout
from trainer.augmentation.intensity import random_intensity
from trainer.augmentation.local_contrast import random_local_contrast
from trainer.augmentation.quality import random_quality
from trainer.config.train import TrainConfig


def augment(images: tf.Tensor, config: TrainConfig, seed: tf.Tensor, *, for_xla: bool = False) -> tf.Tensor:
    """Applies all changes to single images that a configuration asks for; mixtures of two images come later.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        config: the flags; `augment` with `local_contrast`, `border` and the flags of `random_affine`,
            `random_intensity` and `random_quality`, and `cutout` are used.
        seed: int32 [2]; the same seed gives the same images.
        for_xla: True computes with operations that XLA compiles.

    Returns:
        float32 [N, H, W, C].
    """
    if config.augment:
        images = random_affine(images, config, seed, for_xla=for_xla)
        if config.local_contrast:
            images = random_local_contrast(images, config.local_contrast, fold_in(seed, 3))
        images = random_intensity(images, config, fold_in(seed, 2))
        if config.border:
            images = border(images, config.border, fold_in(seed, 4))
        images = random_quality(images, config, fold_in(seed, 5))
    if config.cutout:
        images = cutout(images, config.cutout, fold_in(seed, 1))
    return images
