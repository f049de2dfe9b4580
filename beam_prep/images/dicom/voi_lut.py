"""Works out the grey of each stored value of a DICOM image, as a radiologist's screen shows it.

Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (MONOCHROME1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from beam_prep.dataset.image_limits import ImageError


def grey_table(dataset: Any) -> np.ndarray:
    """Returns the grey of each stored value.

    The modality LUT (or slope and intercept) is applied, then the first VOI LUT, else the first window of a valid
    width; MONOCHROME1 is inverted last.

    Args:
        dataset: a data set of pydicom.

    Returns:
        uint8 or uint16 [2 ** BitsStored], indexed by the stored value, whose bits are taken as an unsigned number.

    Raises:
        ImageError: a look-up table is broken, or a number is not finite.
    """
    bits = int(dataset.BitsStored)
    values = np.arange(2**bits, dtype=np.float64)
    if int(dataset.get("PixelRepresentation", 0)) == 1:
        values[2 ** (bits - 1) :] -= 2**bits
    values, top = _modality(dataset, values, 2**bits - 1)
    if dataset.get("VOILUTSequence"):
        values, top = _look_up(dataset.VOILUTSequence[0], values, dataset)
    elif window := _window(dataset):
        top = 255 if top <= 255 else 65535
        values = window(values) * top
    else:
        values = values - values.min()
    grey = values.round().clip(0, top)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = top - grey
    return grey.astype(np.uint8 if top <= 255 else np.uint16)


def _modality(dataset: Any, values: np.ndarray, top: int) -> tuple[np.ndarray, int]:
    """Converts stored values to values of the modality; also returns the largest grey that they stand for."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset.ModalityLUTSequence[0], values, dataset)
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    if not np.isfinite([slope, intercept]).all():
        raise ImageError("undecodable", "DICOM: slope or intercept not finite")
    if _window_values(dataset) or dataset.get("VOILUTSequence"):
        return values * slope + intercept, top
    return values * np.sign(slope), top  # only the order of the values matters, and the depth stays


def _look_up(item: Any, values: np.ndarray, dataset: Any) -> tuple[np.ndarray, int]:
    """Looks values up in a LUT, whose first and last entry stand for all values below and above its range.

    Returns:
        The entries, and the largest entry that the depth of the LUT allows.
    """
    num_entries, first, bits = (int(number) for number in item.LUTDescriptor)
    num_entries = num_entries or 2**16
    if first >= 2**15 and values.min() < 0:  # it was written unsigned although the values are signed
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * num_entries else f"{order}u2")
    entries = np.atleast_1d(np.asarray(data)).astype(np.float64)[:num_entries]
    if not 1 <= bits <= 16 or len(entries) < num_entries:
        raise ImageError("undecodable", "DICOM: a look-up table that is truncated or has no valid depth")
    top = 2**bits - 1
    return entries[(values.round() - first).clip(0, num_entries - 1).astype(np.int64)].clip(0, top), top


def _window_values(dataset: Any) -> tuple[float, float, str] | None:
    """Returns center, width and function of the first window; None where there is no window of a valid width."""
    center, width = (np.atleast_1d(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if not center.size or not width.size or center[0] is None or width[0] is None:
        return None
    first = float(center[0]), float(width[0])
    if not np.isfinite(first).all() or first[1] < 1e-6 or (function == "LINEAR" and first[1] < 1):
        return None
    return *first, function


def _window(dataset: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns the first window as a function from values of the modality to 0..1; None without a window."""
    window = _window_values(dataset)
    if not window:
        return None
    center, width, function = window
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: ((values - center) / width + 0.5).clip(0, 1)
    if width == 1:
        return lambda values: (values > center - 1).astype(np.float64)
    return lambda values: ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
