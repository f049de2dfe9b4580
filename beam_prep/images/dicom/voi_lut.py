"""Works out the grey of each stored value of a DICOM image, as a radiologist's screen shows it.

Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (MONOCHROME1),
C.7.6.16.2.9 and .10 (transformation and window of one frame), C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.dicom.tags import check_value, holders, items, name_of, numbers, text, whole_number


def grey_table(dataset: Any) -> np.ndarray:
    """Returns the grey of each stored value.

    The modality LUT (or slope and intercept) is applied, then the first VOI LUT, else the first window of a valid
    width; MONOCHROME1 is inverted last. A VOI LUT or a modality LUT without data counts as absent.

    Args:
        dataset: a data set of pydicom.

    Returns:
        uint8 or uint16 [2 ** BitsStored], indexed by the stored value, whose bits are taken as an unsigned number.

    Raises:
        ImageError: a look-up table is broken, or a number is not finite.
    """
    values = stored_numbers(dataset).astype(np.float64)
    look_up = _first_table(dataset, "VOILUTSequence", "FrameVOILUTSequence")
    window = None if look_up else _window(dataset)
    values, top = _modality(dataset, values, shown=bool(look_up or window))
    if look_up:
        values, top = _look_up(look_up, values, dataset)
    elif window:
        top = 255 if top <= 255 else 65535
        values = window(values) * top
    else:
        values = values - values.min()
    grey = values.round().clip(0, top)
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        grey = top - grey
    return grey.astype(np.uint8 if top <= 255 else np.uint16)


def stored_numbers(dataset: Any) -> np.ndarray:
    """Returns the number that each stored value stands for, negative ones included: int64 [2 ** BitsStored]."""
    bits = whole_number(dataset, "BitsStored")
    values = np.arange(2**bits)
    if whole_number(dataset, "PixelRepresentation", 0) == 1:
        values[2 ** (bits - 1) :] -= 2**bits
    return values


def _modality(dataset: Any, values: np.ndarray, *, shown: bool) -> tuple[np.ndarray, int]:
    """Converts stored values to values of the modality.

    Args:
        dataset: a data set of pydicom.
        values: the numbers that the stored values stand for.
        shown: True if a VOI LUT or a window follows, which are given for values of the modality.

    Returns:
        The converted values, and the largest grey that they stand for.
    """
    if look_up := _first_table(dataset, "ModalityLUTSequence"):
        return _look_up(look_up, values, dataset)
    macro = "PixelValueTransformationSequence"
    slope, intercept = _described(dataset, macro, "RescaleSlope") or 1, _described(dataset, macro, "RescaleIntercept")
    top = len(values) - 1
    if shown:
        return values * slope + (intercept or 0), top
    return values * np.sign(slope), top  # only the order of the values matters, and the depth stays


def _described(dataset: Any, macro: str, keyword: str) -> float | None:
    """Returns the first number of a tag in the data set or in its functional groups; None where there is none."""
    found = (number for holder in holders(dataset, macro) for number in numbers(holder, keyword))
    return next((number for number in found if not np.isnan(number)), None)


def _first_table(dataset: Any, sequence: str, macro: str = "") -> Any:
    """Returns the first item of a sequence of look-up tables that has data; None where there is none."""
    for holder in holders(dataset, macro) if macro else (dataset,):
        for item in items(holder, sequence):
            check_value(item, "LUTData")
            if "LUTData" in item and item.LUTData and "LUTDescriptor" in item and item.LUTDescriptor:
                return item
    return None


def _look_up(item: Any, values: np.ndarray, dataset: Any) -> tuple[np.ndarray, int]:
    """Looks values up in a LUT, whose first and last entry stand for all values below and above its range.

    Returns:
        The entries, and the largest entry that the depth of the LUT allows.
    """
    described = numbers(item, "LUTDescriptor")
    if len(described) != 3:
        raise ImageError("undecodable", f"DICOM: {name_of('LUTDescriptor')} is not three numbers")
    num_entries, first, bits = map(int, described)
    num_entries = num_entries % 2**16 or 2**16  # 0 stands for 65536, and a reader may take the number as signed
    if first >= 2**15 and values.min() < 0:  # it was written unsigned although the values are signed
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * num_entries else f"{order}u2")
    entries = np.atleast_1d(np.asarray(data)).astype(np.float64)[:num_entries]
    if not 1 <= bits <= 16 or len(entries) < num_entries:
        raise ImageError("undecodable", f"DICOM: {name_of('LUTData')} is truncated or has no valid depth")
    top = 2**bits - 1
    return entries[(values.round() - first).clip(0, num_entries - 1).astype(np.int64)].clip(0, top), top


def _window(dataset: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns the first window of a valid width as a function from values of the modality to 0..1; None without one."""
    for holder in holders(dataset, "FrameVOILUTSequence"):
        function = text(holder, "VOILUTFunction")
        least = 1e-6 if function in ("SIGMOID", "LINEAR_EXACT") else 1  # every other function is LINEAR
        for center, width in zip(numbers(holder, "WindowCenter"), numbers(holder, "WindowWidth"), strict=False):
            if not np.isnan(center) and width >= least:
                return _window_function(center, width, function)
    return None


def _window_function(center: float, width: float, function: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a window as a function from values of the modality to 0..1, by the formulas of PS3.3 C.11.2.1.3."""
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: ((values - center) / width + 0.5).clip(0, 1)
    if width == 1:
        return lambda values: (values > center - 1).astype(np.float64)
    return lambda values: ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
