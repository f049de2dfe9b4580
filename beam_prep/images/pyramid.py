"""Resizes one equalized image to several sizes, which share the work of shrinking it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beam_prep.images.equalize import equalize, hist_table
from beam_prep.images.fit import fitted_size, offset_of
from beam_prep.images.kernels import halve, shrink

HASH_SIDE = 16  # cells a side of the perceptual hash
RESIZE_GAP = 2.0  # the least ratio of the level that a size is made from to that size
HASH_GAP = 4.0  # the least ratio of the level that the perceptual hash is made from to its cells


class Pyramid:
    """An equalized image at full, half, quarter … size; a pixel of a level is the mean of 2 x 2 of the level before.

    A result that is shrunk from a level that is a good deal larger is near to one that is shrunk from the image itself,
    at a fraction of the cost: within 1/255 on average; at sharp edges within 19/255 for 1,022 X-rays of 224 to 256 px,
    within 9/255 for the same ones enlarged to some 1,000 px. The level depends on the size of the image and that of the
    result alone: a result has the same pixels whatever other sizes are made.

    Args:
        image: `L` or `I;16`, of any size.
        equalization: `hist`, `hist_full`, `clahe` or `none`, see `equalize`; `none` keeps an `L` image as it is.
        pixels: `image.tobytes()`, to spare a copy where the caller has it already.

    Source: Williams, Pyramidal Parametrics, 1983.
    """

    def __init__(self, image: Image.Image, equalization: str = "none", pixels: bytes | None = None) -> None:
        self._image = image
        self._levels: dict[int, Image.Image] = {}
        if equalization in ("hist", "hist_full") and image.mode == "L":
            self._pixels = image.tobytes() if pixels is None else pixels
            padding, full = bool(image.info.get("padding")), equalization == "hist_full"
            self._table = hist_table(self._pixels, padding=padding, full=full)
        else:
            self._levels[0] = equalize(image, equalization, pixels)

    def resize(self, image_px: int, fit: str = "squash") -> Image.Image:
        """Resizes the image to a square of `image_px`, bilinear with anti-aliasing.

        An image below four times `image_px` is resized in one step.

        Args:
            image_px: the side of the square, px.
            fit: `squash`, as in the study, `pad` or `crop`, see `fitted_size`.

        Raises:
            ImageError: the image is too long to be cropped.
        """
        size = fitted_size(self._image.size, image_px, fit)
        level, covered = self._at_least(RESIZE_GAP, *size)
        if level.size == self._image.size:
            resized = level.resize(size, Image.Resampling.BILINEAR)
        else:
            resized = shrink(level, size, covered)
        if size == (image_px, image_px):
            return resized
        square = Image.new("L", (image_px, image_px))
        square.paste(resized, (offset_of(size[0], image_px), offset_of(size[1], image_px)))
        return square

    def perceptual_hash(self) -> int:
        """Returns a difference hash of 256 bits, which differs in few bits between near duplicates.

        Near duplicates are images that were re-encoded or resized; of those that were cropped by 1 % nine in ten are
        recognized, see docs/patients.md. The equalization has to be `hist`, so that brightness and contrast do not
        matter.

        Returns:
            One bit for each of 16 x 16 cells, the first cell the highest bit: 1 if its right neighbour is brighter.

        Source: N. Krawetz, Kind of Like That, 2013 (dHash), at four times its size: chest X-rays look alike, and 64
            bits call images of hundreds of different patients equal.
        """
        # Of Pillow's filters, Hamming changed least with the size of an image and told different patients apart best.
        level, covered = self._at_least(HASH_GAP, HASH_SIDE + 1, HASH_SIDE)
        cells = np.asarray(level.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.HAMMING, box=(0, 0, *covered)))
        return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")

    def _at_least(self, gap: float, width: int, height: int) -> tuple[Image.Image, tuple[float, float]]:
        """Returns the smallest level that is at least `gap` times as large both ways, and the image's size on it, px.

        That size may have a fraction: the last pixel of a level may stand for less than 2 x 2 pixels of the one before.
        """
        full = self._image
        index = 0
        while min(full.width / width, full.height / height) >= gap * 2 ** (index + 1):
            index += 1
        return self._level(index), (full.width / 2**index, full.height / 2**index)

    def _level(self, index: int) -> Image.Image:
        """Returns a level, 0 the full size, and makes it (and those before it) at the first call."""
        if index not in self._levels:
            if index == 0:
                level = self._image.point(self._table)
            elif index == 1 and 0 not in self._levels:  # most sizes need no equalized image at full size
                level = halve(self._pixels, self._image.size, self._table)
            else:
                level = self._level(index - 1).reduce(2)
            self._levels[index] = level
        return self._levels[index]
