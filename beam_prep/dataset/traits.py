"""Writes the age, sex and view of a patient in a few fixed words, by which results are measured in subgroups.

Standard library only. Source: DICOM PS3.5 6.2 (age strings), PS3.3 C.7.1.1 and C.8.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_AGE = 120  # years; public sets hold ages such as 414

AGE_BANDS = {1: "under 1", 5: "1-4", 18: "5-17", 40: "18-39", 60: "40-59", 80: "60-79", MAX_AGE + 1: "80 and over"}
"""The bands of age by their upper end in years, which is in the next band; exact ages are in no record."""

_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def age_band(text: str) -> str:
    """Returns the band of an age, such as `58`, `58.0` or DICOM's `058Y` and `018M`; empty if it is no age."""
    match = re.fullmatch(r"(\d{1,5}(?:\.\d*)?) ?([YMWD]?)", text.strip().upper())
    years = float(match[1]) * _YEARS[match[2]] if match else -1.0
    return next((name for end, name in AGE_BANDS.items() if years < end), "") if years >= 0 else ""


def sex(text: str) -> str:
    """Returns `F` or `M` for `female`, `M` and the like, in any case; empty for any other text."""
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(text.strip().upper(), "")


def view(text: str) -> str:
    """Returns a view position such as `PA` in capital letters; empty for a text that can't be one."""
    name = text.strip().upper()
    return name if re.fullmatch(r"[A-Z][A-Z0-9 _-]{0,15}", name) else ""


READERS: dict[str, Callable[[str], str]] = {"age": age_band, "sex": sex, "view": view}
"""The functions that read the traits of a patient, by the name of the trait."""
