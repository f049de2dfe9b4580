"""Builds VGG19 under the study's head.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks, 2014 (arXiv:1409.1556).
"""

from __future__ import annotations

import keras

from trainer.models import transfer
from trainer.models.outputs import OF_TWO_CLASSES, Outputs

FEATURE_MAPS = ("block5_conv4", "block4_conv4", "block3_conv4")


def build(*, image_size: int, outputs: Outputs = OF_TWO_CLASSES, weights: str) -> keras.Model:
    """Builds the network, see `transfer.build`.

    Its ImageNet weights expect blue, green and red in 0..255 less their means; a grey image has three equal channels.
    """
    return transfer.build(
        "vgg19",
        image_size=image_size,
        outputs=outputs,
        weights=weights,
        application=keras.applications.VGG19,
        scaling=keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="scaling"),
    )
