"""Reads numbers and text from the tags of a DICOM data set, and names a tag that is missing or broken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.dicom.header_limits import MAX_SEQUENCE_BYTES, MAX_VALUE_BYTES, check_length

_TEXT = ("DS", "IS", "CS", "LO", "SH", "ST", "LT")  # the value representations that are read as text


def name_of(keyword: str) -> str:
    """Returns the name of a tag for messages, e.g. `Rows (0028,0010)`."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x})"


def whole_number(dataset: Any, keyword: str, default: int | None = None) -> int:
    """Returns the whole number of a tag, or `default` where the tag is absent or empty.

    Raises:
        ImageError: the tag is no whole number, or is missing without a default.
    """
    found = numbers(dataset, keyword)
    if not found and default is not None:
        return default
    if not found:
        raise ImageError("undecodable", f"DICOM: {name_of(keyword)} is missing")
    if len(found) > 1 or not found[0].is_integer():
        raise ImageError("undecodable", f"DICOM: {name_of(keyword)} is not one whole number")
    return int(found[0])


def text(dataset: Any, keyword: str) -> str:
    """Returns the first text of a tag, in upper case; empty where the tag is absent.

    Raises:
        ImageError: the tag is broken.
    """
    value = _value(dataset, keyword)
    first = value[0] if isinstance(value, list) and value else value
    return str(first or "").strip(" \0").upper()


def numbers(dataset: Any, keyword: str) -> list[float]:
    """Returns the numbers of a tag; a decimal comma counts as a point, and NaN stands for one that is left empty.

    Raises:
        ImageError: the tag is not made of finite numbers.
    """
    value = _value(dataset, keyword)
    found = []
    for part in value if isinstance(value, Sequence) else [value]:
        written = part.replace(",", ".").strip(" \0") if isinstance(part, str) else part
        try:
            found.append(math.nan if written in ("", None) else float(written))
        except (TypeError, ValueError):
            raise ImageError("undecodable", f"DICOM: {name_of(keyword)} is no number") from None
        if not math.isfinite(found[-1]) and written not in ("", None):
            raise ImageError("undecodable", f"DICOM: {name_of(keyword)} is not finite")
    return [] if all(map(math.isnan, found)) else found


def check_value(dataset: Any, keyword: str) -> None:
    """Checks that the value of a tag, if there is one, is short enough to be taken apart.

    Raises:
        ImageError: the value is too long.
    """
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import RawDataElement

    element = dataset.get_item(keyword) if keyword in dataset else None
    if isinstance(element, RawDataElement) and element.value is not None:
        limit = MAX_SEQUENCE_BYTES if dictionary_VR(element.tag) == "SQ" else MAX_VALUE_BYTES
        check_length(name_of(keyword), len(element.value), limit)


def holders(dataset: Any, macro: str) -> Iterator[Any]:
    """Yields the data sets that may describe the frame, in the order of precedence.

    They are the data set itself, and those in a sequence of the functional groups of this frame and of all frames
    (PS3.3 C.7.6.16).

    Args:
        dataset: the data set of the file.
        macro: the keyword of the sequence in a functional group.
    """
    yield dataset
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in items(dataset, groups)[:1]:
            yield from items(group, macro)[:1]


def items(dataset: Any, keyword: str) -> list[Any]:
    """Returns the data sets of a sequence; empty where it is absent.

    Raises:
        ImageError: the tag is no sequence.
    """
    value = _value(dataset, keyword)
    if value is not None and not all(hasattr(item, "get_item") for item in value):
        raise ImageError("undecodable", f"DICOM: {name_of(keyword)} is no sequence")
    return list(value or ())


def _value(dataset: Any, keyword: str) -> Any:
    """Returns the value of a tag: a list of strings where it is written as text; None where the tag is absent.

    Raises:
        ImageError: the tag is broken, or its value is too long.
    """
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import RawDataElement

    element = dataset.get_item(keyword) if keyword in dataset else None
    if element is None or element.value is None:
        return None
    check_value(dataset, keyword)
    try:
        if isinstance(element, RawDataElement):
            written_as = dictionary_VR(element.tag) if element.VR in (None, "UN") else element.VR
            if written_as in _TEXT:  # pydicom knows no decimal comma
                return element.value.decode("ascii", "replace").split("\\")
        return dataset[keyword].value
    except Exception:  # pydicom may raise anything for broken bytes
        raise ImageError("undecodable", f"DICOM: {name_of(keyword)} can't be read") from None
