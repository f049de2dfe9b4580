"""The shortcut audit: is the class told by a number that has nothing to do with the lung? Standard library only.

A model takes the easiest way. Where one class was exported at another size or JPEG quality, that is what it learns.
"""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from beam_prep.manifest import AUDIT_NAME
from beam_prep.schema import CLASS_NAMES

STEPS = 10_000  # to one, of fractions: whole numbers come out alike in any order
NUM_BINS = 30

Value = TypeVar("Value")


class Traits(NamedTuple):
    """What is measured of one file and its decoded image, before equalization; see `shortcuts.measure`.

    Attributes:
        width: px.
        height: px.
        jpeg_quality: 1..100; None for a file that is no JPEG.
        brightness: mean, from 0 (black) to `STEPS` (white).
        border_brightness: the same of the outermost pixels.
        file_bytes: size of the file.
    """

    width: int
    height: int
    jpeg_quality: int | None
    brightness: int
    border_brightness: int
    file_bytes: int


class Feature(NamedTuple):
    """One number of an image to tell the class by.

    Attributes:
        title: what to call it.
        axis: the same with its unit.
        steps: to one unit.
        of: its value, in steps; None where the image has none.
    """

    title: str
    axis: str
    steps: int
    of: Callable[[Traits], int | None]


FEATURES: dict[str, Feature] = {
    "width": Feature("Width", "width, px", 1, lambda traits: traits.width),
    "height": Feature("Height", "height, px", 1, lambda traits: traits.height),
    "aspect": Feature("Aspect", "width / height", STEPS, lambda traits: STEPS * traits.width // traits.height),
    "pixels": Feature("Number of pixels", "pixels, millions", 10**6, lambda traits: traits.width * traits.height),
    "jpeg": Feature("JPEG file or not", "is a JPEG file", 1, lambda traits: int(traits.jpeg_quality is not None)),
    "jpeg_quality": Feature("JPEG quality", "JPEG quality", 1, lambda traits: traits.jpeg_quality),
    "brightness": Feature("Brightness", "mean brightness, black 0 to white 1", STEPS, lambda traits: traits.brightness),
    "border_brightness": Feature(
        "Border brightness",
        "mean brightness of the border, black 0 to white 1",
        STEPS,
        lambda traits: traits.border_brightness,
    ),
    "bytes_per_pixel": Feature(
        "File size per pixel",
        "file size, bytes per pixel",
        STEPS,
        lambda traits: STEPS * traits.file_bytes // (traits.width * traits.height),
    ),
}


@dataclass(frozen=True)
class Histogram:
    """Images by class and value of a feature.

    Attributes:
        start: lower edge of the first bin, in units of the feature.
        step: width of a bin. The first and the last bin also hold all that lies beyond them.
        counts: class name → images in each bin.
    """

    start: float
    step: float
    counts: dict[str, list[int]]

    @property
    def num_bins(self) -> int:
        """0 where no image has such a number, 1 where all but a few have the same."""
        return max(map(len, self.counts.values()), default=0)


@dataclass(frozen=True)
class Shortcut:
    """How well one feature tells the class by itself.

    Attributes:
        auroc: from 0.5, which tells nothing, to 1, whichever way round it points; None where it is not defined.
        higher_in: the class that has the higher values; None where neither has.
        note: why the AUROC is not defined or can't be but 0.5.
        num_without: class name → images that have no such number, and do not count here.
        histogram: of the images that have one.
    """

    auroc: float | None
    higher_in: str | None
    note: str | None
    num_without: dict[str, int]
    histogram: Histogram


@dataclass(frozen=True)
class Audit:
    """What single numbers tell of the class, over all records of a dataset. Holds no name and no row of an image.

    Attributes:
        num_images: by class name.
        num_groups: patients by class name.
        chance_auroc: 19 in 20 features that have nothing to do with the class stay below it with as many patients;
            None without patients of both classes.
        shortcuts: by name of the feature, as in `FEATURES`.
    """

    num_images: dict[str, int]
    num_groups: dict[str, int]
    chance_auroc: float | None
    shortcuts: dict[str, Shortcut]

    def telling(self, auroc: float) -> dict[str, Shortcut]:
        """The features that tell the class with this AUROC or a higher one, and not by chance; the best first."""
        ranked = sorted(self.shortcuts.items(), key=lambda item: -(item[1].auroc or 0))
        chance = self.chance_auroc or 1.0
        return {name: each for name, each in ranked if each.auroc and each.auroc >= auroc and each.auroc > chance}

    def write(self, dataset: str | os.PathLike[str]) -> None:
        """Writes `audit.json` by rename."""
        temporary = Path(dataset, f".{AUDIT_NAME}.{os.getpid()}")
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, Path(dataset, AUDIT_NAME))

    @classmethod
    def read(cls, dataset: str | os.PathLike[str]) -> Audit | None:
        """Reads `audit.json`; None if it is not there or not what it should be."""
        try:
            content = json.loads(Path(dataset, AUDIT_NAME).read_text(encoding="utf-8"))
            shortcuts = {
                name: Shortcut(**{**shortcut, "histogram": Histogram(**shortcut["histogram"])})
                for name, shortcut in content.pop("shortcuts").items()
            }
            return cls(**content, shortcuts={name: shortcuts[name] for name in FEATURES})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def make_audit(images: Iterable[tuple[int, str, Traits]]) -> Audit:
    """Audits the records of a dataset.

    Args:
        images: label, patient group and traits of each, in any order.
    """
    of_class: list[list[Traits]] = [[] for _ in CLASS_NAMES]
    groups: list[set[str]] = [set() for _ in CLASS_NAMES]
    for label, group, traits in images:
        of_class[label].append(traits)
        groups[label].add(group)
    return Audit(
        num_images=_by_class(map(len, of_class)),
        num_groups=_by_class(map(len, groups)),
        chance_auroc=_chance_auroc(*map(len, groups)),
        shortcuts={
            name: _shortcut([[feature.of(traits) for traits in members] for members in of_class], feature.steps)
            for name, feature in FEATURES.items()
        },
    )


def auroc(negatives: Sequence[int], positives: Sequence[int]) -> float:
    """The chance that a positive is higher than a negative, ties counting half, from whole numbers.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, 1982 (the Mann-Whitney statistic).
    """
    ordered = sorted(negatives)
    twice = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in positives)
    return twice / (2 * len(ordered) * len(positives))


def _chance_auroc(num_negatives: int, num_positives: int) -> float | None:
    """Upper end of the 95 % interval of an AUROC whose true value is 0.5."""
    if not num_negatives or not num_positives:
        return None
    deviation = math.sqrt((num_negatives + num_positives + 1) / (12 * num_negatives * num_positives))
    return round(min(0.5 + 1.96 * deviation, 1.0), 4)


def _shortcut(values: Sequence[Sequence[int | None]], steps: int) -> Shortcut:
    """From the values of each class, in steps."""
    present = [[value for value in members if value is not None] for members in values]
    area: float | None = None
    higher_in = note = None
    if not all(present):
        note = "no image of a class has one"
    else:
        signed = auroc(*present)
        area = round(max(signed, 1 - signed), 4)
        if signed != 0.5:
            higher_in = CLASS_NAMES[signed > 0.5]
        elif len({value for members in present for value in members}) == 1:
            note = "the same in all images"
    return Shortcut(
        auroc=area,
        higher_in=higher_in,
        note=note,
        num_without=_by_class(len(all_) - len(having) for all_, having in zip(values, present, strict=True)),
        histogram=_histogram([sorted(members) for members in present], steps),
    )


def _histogram(values: Sequence[Sequence[int]], steps: int) -> Histogram:
    """From the sorted values of each class: the bins reach over 98 in 100 of either, so that no stray value rules."""
    if not any(values):
        return Histogram(0.0, 1.0, _by_class([] for _ in values))
    low = min(members[len(members) // 100] for members in values if members)
    high = max(members[-1 - len(members) // 100] for members in values if members)
    step = -(-(high - low + 1) // NUM_BINS)
    num_bins = -(-(high - low + 1) // step)
    counts = [[0] * num_bins for _ in values]
    for members, bins in zip(values, counts, strict=True):
        for value in members:
            bins[min(max((value - low) // step, 0), num_bins - 1)] += 1
    return Histogram(low / steps, step / steps, _by_class(counts))


def _by_class(values: Iterable[Value]) -> dict[str, Value]:
    return dict(zip(CLASS_NAMES, values, strict=True))
