"""Escapes texts that others chose, such as file names, for consoles, CSV files and notebooks. Standard library only."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from html import escape

# Control characters, among them the escape that begins a sequence for the terminal; separators of lines; characters
# that turn the direction of text around; and halves of surrogate pairs, which no encoding can write.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
MAX_MESSAGE = 4000
"""The largest number of characters of a message that are shown."""
_NEW_LINE = re.compile(r"\n(?!  )")
_FORMULA = re.compile(r"[=+\-@\t|%\uff1d\uff0b\uff0d\uff20]")  # also in the full width of East Asian text


def printable(text: str) -> str:
    r"""Returns a text for a console or a log: no character of it moves the cursor, changes colours or hides others.

    Such characters become escapes, `\x1b`. A line feed stays where two spaces follow, as in lists of the project's own
    messages, and tabs stay.
    """
    return _NEW_LINE.sub(r"\\n", _UNPRINTABLE.sub(_escape, text))


def message(text: str) -> str:
    """Returns a message for a console or a log, see `printable`; of one that quotes a huge text, the beginning."""
    shown = printable(text[:MAX_MESSAGE])
    return shown if len(text) <= MAX_MESSAGE else f"{shown}… ({len(text)} characters)"


def csv_cell(value: object) -> object:
    """Returns a value for a cell of a CSV file, in which no spreadsheet sees a formula and no terminal a command.

    A text that begins like a formula gets an apostrophe in front, and unprintable characters become escapes. Numbers
    stay numbers.

    Source: OWASP, CSV Injection.
    """
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if _FORMULA.match(shown) and not _is_number(shown) else shown


def from_csv_cell(cell: str) -> str:
    """Returns the text of a cell without the apostrophe that `csv_cell` put in front."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:2]) else cell


def html_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table as HTML, by which datasets and runs show themselves in notebooks.

    Args:
        caption: the line above the table.
        head: the headings of the columns.
        rows: the cells of each row; the first one is its heading.
    """
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    title = f'<caption style="caption-side: top; text-align: left">{escape(caption)}</caption>'
    return f"<table>{title}<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"


class PrintableFormatter(logging.Formatter):
    """A formatter of log records whose messages may quote names of files; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line of a record, escaped."""
        return message(super().formatMessage(record))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text, re.IGNORECASE) is not None
