"""Builds InceptionResNetV2 under the study's head.

Source: Szegedy et al., Inception-v4, Inception-ResNet, 2016 (arXiv:1602.07261).
"""

from __future__ import annotations

import keras

from trainer.models import transfer
from trainer.models.outputs import OF_TWO_CLASSES, Outputs

FEATURE_MAPS = ("conv_7b_ac", "block17_20_ac", "block35_10_ac")


def build(*, image_size: int, outputs: Outputs = OF_TWO_CLASSES, weights: str) -> keras.Model:
    """Builds the network, see `transfer.build`; its ImageNet weights expect pixels in -1..1."""
    return transfer.build(
        "inception_resnet_v2",
        image_size=image_size,
        outputs=outputs,
        weights=weights,
        application=keras.applications.InceptionResNetV2,
        scaling=keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling"),
    )
