"""One image, equalized, at every size that is wanted of it: all that shrinks it shares the work."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beam_prep.images.equalize import equalize, hist_table
from beam_prep.images.kernels import halve, shrink

HASH_SIDE = 16
RESIZE_GAP = 2.0
HASH_GAP = 4.0


class Pyramid:
    """An equalized image at full, half, quarter … size; each level is the mean of 2 x 2 pixels of the one before.

    What is shrunk from a level that is a good deal larger than the result is within 5/255 of what is shrunk from the
    image itself, at a fraction of the cost. Which level is taken depends on the two sizes alone: a size has the same
    pixels whatever else is made of the image.

    Args:
        image: `L` or `I;16`, any size.
        equalization: as `images.equalize` takes it; `none` keeps an `L` image as it is.
        pixels: `image.tobytes()`, which spares a copy where they are at hand.

    Source: Williams, Pyramidal Parametrics, 1983.
    """

    def __init__(self, image: Image.Image, equalization: str = "none", pixels: bytes | None = None) -> None:
        self._image = image
        self._levels: dict[int, Image.Image] = {}
        if equalization == "hist" and image.mode == "L":
            self._pixels = image.tobytes() if pixels is None else pixels
            self._table = hist_table(self._pixels)
        else:
            self._levels[0] = equalize(image, equalization)

    def resize(self, image_px: int) -> Image.Image:
        """Bilinear with anti-aliasing, to a square of `image_px`; the aspect ratio gives way, as in the study.

        An image of less than four times that size is resized in one go.
        """
        level, covered = self._at_least(RESIZE_GAP, image_px, image_px)
        if level.size == self._image.size:
            return level.resize((image_px, image_px), Image.Resampling.BILINEAR)
        return shrink(level, (image_px, image_px), covered)

    def perceptual_hash(self) -> int:
        """A difference hash of 256 bits: near duplicates (re-encoded, resized, slightly cropped) differ in few of them.

        The equalization has to be `hist`, so that brightness and contrast are of no account.

        Returns:
            One bit for each of 16 x 16 cells, the first the highest: whether its right neighbour is brighter.

        Source: N. Krawetz, Kind of Like That, 2013 (dHash), at four times its size: chest X-rays look alike, and 64
            bits call images of hundreds of different patients equal.
        """
        # Of Pillow's filters this one changed least with the size of a picture and told different patients apart best.
        level, covered = self._at_least(HASH_GAP, HASH_SIDE + 1, HASH_SIDE)
        cells = np.asarray(level.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.HAMMING, box=(0, 0, *covered)))
        return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")

    def _at_least(self, gap: float, width: int, height: int) -> tuple[Image.Image, tuple[float, float]]:
        """The smallest level that is at least `gap` times as large either way, and how far the image goes on it, px.

        The last pixel of a level may stand for less than 2 x 2 of the one before: the image ends within it.
        """
        full = self._image
        index = 0
        while min(full.width / width, full.height / height) >= gap * 2 ** (index + 1):
            index += 1
        return self._level(index), (full.width / 2**index, full.height / 2**index)

    def _level(self, index: int) -> Image.Image:
        if index not in self._levels:
            if index == 0:
                level = self._image.point(self._table)
            elif index == 1 and 0 not in self._levels:  # most sizes need no equalized image at full size
                level = halve(self._pixels, self._image.size, self._table)
            else:
                level = self._level(index - 1).reduce(2)
            self._levels[index] = level
        return self._levels[index]
