"""Says where the content of a page comes from: its date, the command that made it, and the pages that belong to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

from beam_prep.storage.paths import AnyPath, is_url

REPORT_NAME = "report.html"
"""The name of the page of a dataset, run or sweep."""


@dataclass(frozen=True)
class Link:
    """A page that belongs to the page that is written.

    Attributes:
        title: the kind of the other page, such as "Dataset".
        text: the text of the link.
        address: the address of the other page, relative to the folder of the page that is written; None where the
            other page can't be reached from there, so that the text is shown without a link.
    """

    title: str
    text: str
    address: str | None


@dataclass(frozen=True)
class Origin:
    """The origin of the content of a page.

    Attributes:
        event: what happened on the date, such as "trained".
        first: the day of the event in UTC; None leaves it out.
        last: the day on which the event ended, where that is not the first.
        command: the command line that made the content; an empty text leaves it out.
        links: the pages that belong to the page.
    """

    event: str
    first: date | None
    last: date | None = None
    command: str = ""
    links: tuple[Link, ...] = ()

    @property
    def days(self) -> str:
        """The date in words, such as "27 November 2026"; an empty text without a date."""
        days = [day for day in dict.fromkeys((self.first, self.last)) if day is not None]
        return " to ".join(f"{day.day} {day:%B %Y}" for day in days)


def link_to(title: str, text: str, target: AnyPath, folder: AnyPath) -> Link:
    """Returns the link from a page to another one.

    Args:
        title: the kind of the other page.
        text: the text of the link.
        target: the file of the other page; without such a file on this machine the text has no link.
        folder: the folder of the page that has the link.
    """
    if not (isinstance(target, Path) and isinstance(folder, Path) and target.is_file()):
        return Link(title, text, None)
    relative = Path(os.path.relpath(target.resolve(), folder.resolve()))
    return Link(title, text, quote(os.fsencode(relative.as_posix())))


def link_to_report(title: str, place: str, folder: AnyPath, *, home: str, text: str | None = None) -> Link:
    """Returns the link to the page `report.html` of a dataset, run or sweep.

    Args:
        title: the kind of the other page.
        place: the folder of the other page as the user names it.
        folder: the folder of the page that has the link.
        home: this folder as the user names it: what is kept in a bucket is a copy here, and is read elsewhere.
        text: the text of the link; None for the place.
    """
    if is_url(place) or is_url(home):
        return Link(title, text or place, None)
    return link_to(title, text or place, Path(place) / REPORT_NAME, folder)


def today() -> date:
    """Returns the day in UTC."""
    return datetime.now(UTC).date()


def day_of(seconds: float) -> date:
    """Returns the day in UTC of a time in seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).date()


def day_named(text: str | None) -> date | None:
    """Returns the day that a file names as in 2026-11-27; None where it names no day."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def day_written(path: AnyPath) -> date | None:
    """Returns the day on which a file was written last, in UTC; None where a bucket does not tell it."""
    if isinstance(path, Path):
        return day_of(path.stat().st_mtime)
    updated = path.loaded().updated
    return updated.astimezone(UTC).date() if updated else None
