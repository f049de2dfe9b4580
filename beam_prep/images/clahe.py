"""Equalizes an image by region (CLAHE), with the tiles, the bins and the clipping of scikit-image.

CLAHE is contrast-limited adaptive histogram equalization.

Source: Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV (1994), pp. 474-485;
parameters as the defaults of `skimage.exposure.equalize_adapthist`.
"""

from __future__ import annotations

import numpy as np

from beam_prep.images.dicom.stored_values import look_up, row_blocks

NUM_BINS = 256
LEVELS = 2**14  # grey levels of the mappings
BIN_LEVELS = 1 + LEVELS // NUM_BINS
TILES_PER_SIDE = 8
BAND_PIXELS = 2**18  # pixels that are blended at once, for which some 40 bytes each are needed meanwhile
CLIP_LIMIT = 0.01  # the largest share of the pixels of a tile that one bin may hold


def clahe(pixels: np.ndarray, outside: np.ndarray | None = None) -> np.ndarray:
    """Equalizes each region by its own clipped histogram and blends between the regions.

    Args:
        pixels: uint8 or uint16 [H, W], each side at least 8 px.
        outside: bool [H, W], True for pixels outside the picture, which become 0; None where there are none.

    Returns:
        uint8 [H, W]: 255 * `skimage.exposure.equalize_adapthist(pixels)`, rounded; a flat image becomes 255.
    """
    height, width = pixels.shape
    low, high = _range_of_picture(pixels, outside)
    if low == high:
        return np.full(pixels.shape, 255, np.uint8)
    tile_h, tile_w = height // TILES_PER_SIDE, width // TILES_PER_SIDE
    num_rows, num_columns = -(-height // tile_h), -(-width // tile_w)
    bins = look_up(_bins_of_values(low, high, np.iinfo(pixels.dtype).max), pixels)
    # Half a tile is added before the image and at least as much after it; only the nearest mapping applies there.
    before_h, before_w = tile_h // 2, tile_w // 2
    after_h = num_rows * tile_h - height + tile_h - before_h
    after_w = num_columns * tile_w - width + tile_w - before_w
    around = [(before_h, after_h), (before_w, after_w)]
    bins = np.pad(bins, around, mode="reflect")

    counts = _count(bins[before_h:, before_w:], num_rows, num_columns, tile_h, tile_w)
    if outside is not None:
        reflected = np.pad(outside.view(np.uint8), around, mode="reflect")[before_h:, before_w:]
        num_outside = _count(reflected, num_rows, num_columns, tile_h, tile_w)[:, 1]
        del reflected
        counts = _of_picture(counts, num_outside, tile_h * tile_w)
    corners = _corners(_mappings(counts, tile_h * tile_w).reshape(num_rows, num_columns, NUM_BINS))
    levels = _blend(bins, corners, tile_h, tile_w)[before_h : before_h + height, before_w : before_w + width]
    equalized = _stretch(levels)
    if outside is not None:
        equalized[outside] = 0
    return equalized


def _range_of_picture(pixels: np.ndarray, outside: np.ndarray | None) -> tuple[int, int]:
    """Returns the lowest and the highest value of the pixels in the picture; of all pixels where none are in it."""
    if outside is None or outside.all():
        return int(pixels.min()), int(pixels.max())
    parts = [part for rows in row_blocks(pixels.shape) if (part := pixels[rows][~outside[rows]]).size]
    return min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)


def _of_picture(counts: np.ndarray, num_outside: np.ndarray, tile_pixels: int) -> np.ndarray:
    """Takes the pixels outside the picture, which are in bin 0, out of T histograms, int64 [T, NUM_BINS].

    The rest of a histogram is scaled up to the pixels of a tile. A tile without a pixel of the picture stays as it is.
    """
    num_inside = (tile_pixels - num_outside)[:, None]
    inside = counts.copy()
    inside[:, 0] -= num_outside
    return np.where(num_inside > 0, inside * tile_pixels // np.maximum(num_inside, 1), counts)


def _bins_of_values(low: int, high: int, largest: int) -> np.ndarray:
    """Returns the histogram bin of each grey value, uint8 [largest + 1]: `low` to `high` is spread over all levels."""
    share = (np.arange(largest + 1, dtype=np.float64) - low) / (high - low)
    levels = np.round(share.clip(0, 1) * (LEVELS - 1)).astype(np.int64)
    return (levels // BIN_LEVELS).astype(np.uint8)


def _count(bins: np.ndarray, num_rows: int, num_columns: int, tile_h: int, tile_w: int) -> np.ndarray:
    """Counts the bins of each tile, from the upper left corner on: int64 [num_rows * num_columns, NUM_BINS]."""
    tile_of_column = np.arange(num_columns * tile_w) // tile_w * NUM_BINS
    counts = np.zeros((num_rows, num_columns * NUM_BINS), np.int64)
    for row in range(num_rows):
        tiles = bins[row * tile_h : (row + 1) * tile_h, : num_columns * tile_w]
        for rows in row_blocks(tiles.shape):
            counts[row] += np.bincount((tiles[rows] + tile_of_column).ravel(), minlength=counts.shape[1])
    return counts.reshape(-1, NUM_BINS)


def _mappings(counts: np.ndarray, tile_pixels: int) -> np.ndarray:
    """Turns T histograms into mappings from bin to level, float32 [T, NUM_BINS].

    A histogram is clipped, the pixels that were cut off are shared out over all bins, and the counts are cumulated.
    """
    limit = int(max(CLIP_LIMIT * tile_pixels, 1))
    excess = np.maximum(counts - limit, 0).sum(axis=1)
    counts = np.minimum(counts, limit)
    share = (excess // NUM_BINS)[:, None]
    raised = np.minimum(counts + share, limit)
    # As in scikit-image, a bin that is this near to the limit is filled up.
    raised = np.where(raised >= limit - share, limit, raised)
    excess -= (raised - counts).sum(axis=1)
    for tile in np.flatnonzero(excess > 0):
        _share_out(raised[tile], limit, int(excess[tile]))
    cumulative = raised.cumsum(axis=1) * ((LEVELS - 1) / tile_pixels)
    return np.floor(np.minimum(cumulative, LEVELS - 1)).astype(np.float32)


def _share_out(counts: np.ndarray, limit: int, excess: int) -> None:
    """Adds `excess` pixels to bins below the limit, evenly spread; each pass begins one bin further than the last."""
    while excess > 0:
        before = excess
        for start in range(NUM_BINS):
            below = counts < limit
            step = max(1, int(np.count_nonzero(below)) // excess)
            raised = below[start::step]
            counts[start::step] += raised
            excess -= int(np.count_nonzero(raised))
            if excess <= 0:
                return
        if excess == before:  # every bin is full
            return


def _corners(maps: np.ndarray) -> np.ndarray:
    """Packs the four mappings around each block for a bilinear blend, from mappings [R, C, NUM_BINS].

    Returns:
        complex128 [R + 1, C + 1, NUM_BINS]. Every entry is four float32 (a, b, c, d), so that one look-up fetches all
        four: a + x * b + y * (c + x * d) is the level at x, y in [0, 1) of the block.
    """
    maps = np.pad(maps, [(1, 1), (1, 1), (0, 0)], mode="edge")
    top_left, top_right, left, right = maps[:-1, :-1], maps[:-1, 1:], maps[1:, :-1], maps[1:, 1:]
    parts = [top_left, top_right - top_left, left - top_left, right - left - top_right + top_left]
    return np.stack(parts, axis=-1).view(np.complex128)[..., 0]


def _blend(bins: np.ndarray, corners: np.ndarray, tile_h: int, tile_w: int) -> np.ndarray:
    """Interpolates the level of each pixel between the four tiles around it: uint16, of the shape of `bins`."""
    num_rows, num_columns, _ = corners.shape
    x = np.tile(np.arange(tile_w, dtype=np.float32) / np.float32(tile_w), num_columns)
    y = (np.arange(tile_h, dtype=np.float32) / np.float32(tile_h))[:, None]
    block_of_column = np.repeat(np.arange(num_columns, dtype=np.intp) * NUM_BINS, tile_w)
    levels = np.empty(bins.shape, np.uint16)
    band = max(BAND_PIXELS // bins.shape[1], 1)
    for row in range(num_rows):
        mappings = corners[row].reshape(-1)
        for start in range(0, tile_h, band):
            end = min(start + band, tile_h)
            rows = slice(row * tile_h + start, row * tile_h + end)
            fetched = np.take(mappings, bins[rows] + block_of_column, mode="clip")
            part = fetched.view(np.float32).reshape(*fetched.shape, 4)  # [end - start, W, 4]
            upper = part[..., 1] * x
            upper += part[..., 0]
            lower = part[..., 3] * x
            lower += part[..., 2]
            lower *= y[start:end]
            upper += lower
            levels[rows] = upper
    return levels


def _stretch(levels: np.ndarray) -> np.ndarray:
    """Scales levels to uint8, from the lowest level (0) to the highest (255)."""
    low, high = int(levels.min()), int(levels.max())
    if low == high:
        return np.full(levels.shape, 255, np.uint8)
    table = ((np.arange(high + 1) - low) * (255.0 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return look_up(table, levels)
