"""Defines the preprocessing of `beam_prep` as a TensorFlow graph: from an encoded JPEG or PNG to the input of a model.

The result is within 1/255 of `decode`, `equalize` and `Pyramid.resize` in `beam_prep.images`, from the same formulas.
The graph has no other formats and no CLAHE, refuses a JPEG in CMYK, and ignores the orientation that a camera notes.
"""

from __future__ import annotations

import tensorflow as tf

from beam_prep.images.fit import MAX_ASPECT
from beam_prep.images.pyramid import RESIZE_GAP

_VALUES = 65536
"""The number of values of 16 bits."""
_PNG = b"\x89PNG\r\n\x1a\n"


def model_input(encoded: tf.Tensor, *, image_size: int, equalization: str, fit: str | None = None) -> tf.Tensor:
    """Decodes and prepares one image as input of a model.

    Args:
        encoded: string [], a JPEG or PNG file.
        image_size: side of the result, px.
        equalization: one of `model_card.SERVABLE_EQUALIZATIONS`.
        fit: the way the image becomes a square, see `beam_prep.images.fit`; None for `squash`.

    Returns:
        float32 [image_size, image_size, 1], whole numbers in 0..255.
    """
    pixels, is_deep = _decode(encoded)
    if equalization in ("hist", "hist_full"):
        pixels = tf.gather(_cumulative(pixels, full=equalization == "hist_full"), pixels)
    else:
        pixels = tf.where(is_deep, _scaled(pixels), pixels)
    return _resize(tf.cast(pixels, tf.float32), image_size, fit or "squash")


def _decode(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the grey values int32 [H, W], and true if they are of 16 bit."""
    is_png = tf.strings.substr(encoded, 0, len(_PNG)) == _PNG
    is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
    # The assertion runs before the decoders: else one of them might fail first, with a message of its own.
    with tf.control_dependencies([tf.debugging.Assert(is_png | is_jpeg, ["expected the bytes of a JPEG or PNG file"])]):
        encoded = tf.identity(encoded)
    is_deep = is_png & _is_grey_png(encoded, 16)
    grey = tf.case(
        [(is_jpeg, lambda: _decode_jpeg(encoded)), (is_deep, lambda: _decode_deep_png(encoded))],
        default=lambda: _decode_png(encoded),
    )
    return grey, is_deep


def _is_grey_png(encoded: tf.Tensor, bits: int) -> tf.Tensor:
    """Returns true if a PNG is grey and has values of so many bits: bytes 25 (colour type 0) and 24 of its header."""
    header = tf.strings.join([tf.strings.substr(encoded, 0, 26), bytes(26)])  # long enough, however short the file is
    return tf.strings.substr(header, 24, 2) == bytes([bits, 0])


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the luma of a JPEG in grey or RGB; the assertion fails for CMYK, which TensorFlow does not convert."""
    expected = "expected a JPEG in grey or RGB, found one in CMYK; convert it, or use trainer predict"
    num_channels = tf.io.extract_jpeg_shape(encoded)[2]
    with tf.control_dependencies([tf.debugging.Assert(num_channels < 4, [expected])]):
        encoded = tf.identity(encoded)
    # One channel is the luma of the file, as in Pillow. TensorFlow's default is a fast cosine transform that is less
    # exact than Pillow's.
    return tf.cast(tf.io.decode_jpeg(encoded, channels=1, dct_method="INTEGER_ACCURATE"), tf.int32)[..., 0]


def _decode_deep_png(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the values of a grey PNG of 16 bit; those that the file calls transparent are 0."""
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.int32)  # [H, W, 4]
    return tf.where(rgba[..., 3] > 0, rgba[..., 0], 0)


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the ITU-R 601 luma on a black ground, in the integers of Pillow; TensorFlow has other weights."""
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)  # [H, W, 4]
    luma = (tf.tensordot(rgba[..., :3], tf.constant([19595, 38470, 7471]), 1) + 32768) // 65536
    for bits in (1, 2, 4):  # TensorFlow does not scale these values to 0..255
        luma *= tf.where(_is_grey_png(encoded, bits), 255 // (2**bits - 1), 1)
    shaded = luma * rgba[..., 3] + 128
    return (shaded // 256 + shaded) // 256


def _cumulative(pixels: tf.Tensor, *, full: bool) -> tf.Tensor:
    """Returns the table of a histogram equalization, int32 [_VALUES]: the share of pixels up to a value, in 0..255.

    With `full`, the darkest value becomes 0, as in `beam_prep.images.equalize`.
    """
    counts = tf.math.bincount(tf.reshape(pixels, [-1]), minlength=_VALUES, maxlength=_VALUES, dtype=tf.int32)
    cumulative, total = tf.cumsum(counts), tf.size(pixels)
    if full:
        num_darkest = cumulative[tf.reduce_min(pixels)]
        cumulative, total = tf.maximum(cumulative - num_darkest, 0), tf.maximum(total - num_darkest, 1)
    return tf.cast(tf.round(tf.cast(cumulative, tf.float64) * (255 / tf.cast(total, tf.float64))), tf.int32)


def _scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Stretches the grey values of an image to 0..255."""
    low, high = tf.reduce_min(pixels), tf.reduce_max(pixels)
    factor = 255 / tf.cast(tf.maximum(high - low, 1), tf.float64)
    return tf.cast(tf.round(tf.cast(pixels - low, tf.float64) * factor), tf.int32)


def _fitted_size(size: tf.Tensor, image_size: int, fit: str) -> tf.Tensor:
    """Returns the height and width, int32 [2], to which an image is resized before it is padded or cropped."""
    if fit == "squash":
        return tf.constant([image_size, image_size])
    size = tf.cast(size, tf.int64)
    side = tf.reduce_max(size) if fit == "pad" else tf.reduce_min(size)
    with tf.control_dependencies(
        [tf.debugging.Assert(fit == "pad" or tf.reduce_max(size) <= MAX_ASPECT * side, [size])]
    ):
        return tf.cast(tf.maximum((2 * size * image_size + side) // (2 * side), 1), tf.int32)


def _resize(pixels: tf.Tensor, image_size: int, fit: str) -> tf.Tensor:
    """Resizes [H, W] to [image_size, image_size, 1] as `Pyramid` does: halves first, then bilinear, anti-aliased."""
    level = pixels[None, ..., None]  # [1, H, W, 1]
    extent = tf.cast(tf.shape(pixels), tf.float32)  # size of the image in pixels of the level
    size = _fitted_size(tf.shape(pixels), image_size, fit)
    gap = 2 * RESIZE_GAP * tf.cast(size, tf.float32)

    def halve(level: tf.Tensor, extent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.floor(tf.nn.avg_pool2d(level, 2, 2, "SAME") + 0.5), extent / 2

    level, extent = tf.while_loop(
        lambda level, extent: tf.reduce_all(extent >= gap),
        halve,
        [level, extent],
        shape_invariants=[tf.TensorShape([1, None, None, 1]), tf.TensorShape([2])],
    )
    rows, columns = (_shares(tf.shape(level)[1 + axis], extent[axis], size[axis]) for axis in range(2))
    resized = tf.matmul(tf.matmul(rows, level[0, ..., 0]), columns, transpose_b=True)
    square = tf.image.resize_with_crop_or_pad(resized[..., None], image_size, image_size)
    return tf.ensure_shape(tf.clip_by_value(tf.round(square), 0, 255), [image_size, image_size, 1])


def _shares(length: tf.Tensor, covered: tf.Tensor, num_out: tf.Tensor) -> tf.Tensor:
    """Returns the share of each pixel of a side in each of the result, float32 [num_out, length]: a triangle's.

    Args:
        length: int32 [], the pixels of the side.
        covered: float32 [], the pixels that belong to the image; of the last one this may be a part.
        num_out: int32 [], the pixels of the result.
    """
    num_out = tf.cast(num_out, tf.float32)
    starts = tf.range(tf.cast(length, tf.float32))
    ends = tf.minimum(starts + 1, covered)
    scale = covered / num_out
    centers = (tf.range(num_out)[:, None] + 0.5) * scale
    distances = tf.abs((starts + ends) / 2 - centers) / tf.maximum(scale, 1)
    shares = (ends - starts) * tf.nn.relu(1 - distances)
    return shares / tf.reduce_sum(shares, axis=1, keepdims=True)
