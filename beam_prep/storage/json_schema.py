"""Checks JSON that may come from a stranger: its size and nesting, and the type and range of every entry.

A schema is made of checks, small functions that raise a `Mismatch` which names the entry. Standard library only.
"""

from __future__ import annotations

import errno
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from beam_prep.storage.paths import ReadablePath, read_file

MAX_JSON_BYTES = 32 * 2**20
"""The largest JSON file that is read; a manifest has some 200 bytes for each shard, a list 150 for each image in it."""
MAX_OBJECTS = 10**6
"""The largest number of objects and lists in a file: each takes memory of some hundred bytes."""
MAX_DIGITS = 300
"""The longest whole number, in digits; no float holds a number of more than 309."""
MAX_DEPTH = 20
"""The deepest nesting of an entry that no check describes."""

Check = Callable[[Any, str], None]
"""A check of a value; the second argument is the place of the value in its file, such as `splits.train`."""


class Mismatch(ValueError):
    """An entry that is not what the schema asks for."""

    def __init__(self, place: str, expected: str, found: str) -> None:
        super().__init__(f"{place + ': ' if place else ''}expected {expected}, found {found}")


def read_json(path: ReadablePath, check: Check) -> Any:
    """Reads a JSON file, see `load_json`; a file that is too large is never held in memory.

    Raises:
        OSError: the file is missing, can't be read, or is a pipe or device.
        Mismatch: the file is too large or no JSON, or an entry is not what the check asks for.
    """
    try:
        data = read_file(path, MAX_JSON_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise Mismatch("", f"at most {MAX_JSON_BYTES} bytes of JSON", "more") from None
        raise
    return load_json(data, check)


def load_json(data: bytes, check: Check, place: str = "") -> Any:
    """Parses JSON and checks it.

    Args:
        data: the content of the file.
        check: the check of the whole content.
        place: the beginning of messages.

    Raises:
        Mismatch: the file is too large or no JSON, an object has two entries of one name, or an entry is not what the
            check asks for.
    """
    if len(data) > MAX_JSON_BYTES:
        raise Mismatch(place, f"at most {MAX_JSON_BYTES} bytes of JSON", f"{len(data)}")
    num_objects = data.count(b"[") + data.count(b"{")
    if num_objects > MAX_OBJECTS:
        raise Mismatch(place, f"at most {MAX_OBJECTS} objects and lists", f"up to {num_objects}")
    try:
        content = json.loads(data, parse_int=_whole_number, object_pairs_hook=_without_repetition)
    except RecursionError:
        raise Mismatch(place, "JSON", "entries that are nested too deeply") from None
    except ValueError as error:
        raise Mismatch(place, "JSON", f"something else ({error})") from None
    check(content, place)
    return content


def read_json_lines(path: ReadablePath, check: Check) -> Iterator[Any]:
    """Reads a file with a JSON value in each line; empty lines count not.

    Raises:
        OSError: the file is missing, can't be read, is larger than `MAX_JSON_BYTES`, or is a pipe or device.
        Mismatch: a line is no JSON, or not what the check asks for.
    """
    data = read_file(path, MAX_JSON_BYTES)
    for number, line in enumerate(io.BytesIO(data), start=1):
        if line.strip():
            yield load_json(line, check, f"line {number}")


def whole(low: int = 0, high: int = 10**12) -> Check:
    """Returns the check of a whole number in a range, bounds included."""

    def check(value: Any, place: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Mismatch(place, f"a whole number from {low} to {high}", _shown(value))

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Returns the check of a finite number in a range, bounds included."""
    expected = "a finite number" + (f" from {low:g} to {high:g}" if math.isfinite(low) or math.isfinite(high) else "")

    def check(value: Any, place: str) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or not abs(value) < math.inf:
            raise Mismatch(place, expected, _shown(value))

    return check


def text(pattern: str = r"[^\0]*", *, example: str = "", most: int = 10_000) -> Check:
    """Returns the check of a text that matches a regular expression as a whole.

    Args:
        pattern: the regular expression; its classes of digits and letters are those of ASCII.
        example: a text that matches, for the message.
        most: the largest number of characters.
    """
    compiled = re.compile(pattern, re.DOTALL | re.ASCII)

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or len(value) > most or not compiled.fullmatch(value):
            raise Mismatch(place, f"a text such as {example}" if example else "a text", _shown(value))

    return check


def one_of(*values: Any) -> Check:
    """Returns the check that a value is one of some values, of the same type."""

    def check(value: Any, place: str) -> None:
        if not any(value == each and type(value) is type(each) for each in values):
            raise Mismatch(place, f"one of {', '.join(map(str, values))}", _shown(value))

    return check


def nullable(check_value: Check) -> Check:
    """Returns the check that a value is null or passes another check."""

    def check(value: Any, place: str) -> None:
        if value is not None:
            check_value(value, place)

    return check


def list_of(check_value: Check, *, least: int = 0, most: int = 100_000) -> Check:
    """Returns the check of a list whose values all pass another check."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            found = f"{len(value)} values" if isinstance(value, list) else _shown(value)
            raise Mismatch(place, f"a list of {least} to {most} values", found)
        for index, each in enumerate(value):
            check_value(each, f"{place}[{index}]")

    return check


def or_scalars(check_value: Check, *, most: int = 100_000) -> Check:
    """Returns the check that a value is a list of scalars, or passes another check."""
    check_list = list_of(scalar, most=most)

    def check(value: Any, place: str) -> None:
        (check_list if isinstance(value, list) else check_value)(value, place)

    return check


def mapping_of(check_value: Check, check_key: Check | None = None, *, most: int = 10_000) -> Check:
    """Returns the check of an object with any names, which may have to pass a check too."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise Mismatch(place, f"an object of at most {most} entries", _shown(value))
        for name, each in value.items():
            if check_key is not None:
                check_key(name, f"a name in {place}" if place else "a name")
            check_value(each, _below(place, name))

    return check


def entries(required: Mapping[str, Check], more: Mapping[str, Check] | None = None, *, others: bool = False) -> Check:
    """Returns the check of an object with known names.

    Args:
        required: the checks of the entries that must be there.
        more: the checks of the entries that may be there.
        others: True to let entries of other names pass, of any type, such as those of later versions.
    """
    known = {**required, **(more or {})}

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise Mismatch(place, "an object", _shown(value))
        if missing := [name for name in required if name not in value]:
            raise Mismatch(place, f"an entry {missing[0]}", "none")
        for name, each in value.items():
            if name not in known and not others:
                raise Mismatch(place, f"some of the entries {', '.join(known)}", _shown(name))
            known.get(name, anything)(each, _below(place, name))

    return check


def flag(value: Any, place: str) -> None:
    """Checks that a value is true or false."""
    if not isinstance(value, bool):
        raise Mismatch(place, "true or false", _shown(value))


def any_number(value: Any, place: str) -> None:
    """Checks that a value is a number, which may be infinite or NaN where a measurement was."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Mismatch(place, "a number", _shown(value))


def scalar(value: Any, place: str) -> None:
    """Checks that a value is a finite number, a text, true, false or null."""
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:  # YAML has such numbers, which may not become a text
        raise Mismatch(place, f"a number of at most {MAX_DIGITS} digits", "a longer one")
    if isinstance(value, (dict, list)) or (isinstance(value, float) and not math.isfinite(value)):
        raise Mismatch(place, "a finite number, a text, true, false or null", _shown(value))


def anything(value: Any, place: str, depth: int = 0) -> None:
    """Checks that a value of any type is not nested deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise Mismatch(place[:60], f"at most {MAX_DEPTH} levels", "more")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        anything(each, place, depth + 1)


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object with two entries of one name")
    return content


def _below(place: str, name: object) -> str:
    shown = str(name) if re.fullmatch(r"[\w./-]{1,60}", str(name)) else _shown(name)
    return f"{place}.{shown}" if place else shown


def _shown(value: object) -> str:
    """Returns a value for a message, in one short line."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
