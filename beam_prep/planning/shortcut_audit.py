"""The shortcut audit: is the class told by a number that has nothing to do with the lung? Standard library only.

A model takes the easiest way. Where one class was exported at another size or JPEG quality, that is what it learns.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from beam_prep.dataset.image_stats import FEATURES, ImageStats
from beam_prep.dataset.manifest import AUDIT_NAME
from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.storage.atomic import write_text
from beam_prep.storage.paths import AnyPath, to_path

NUM_BINS = 30
NUM_RANGES = 10
RANGE_GAIN = 0.02  # of AUROC, from which ranges tell more than the order does, and not by chance only

Value = TypeVar("Value")


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
        auroc_by_range: of the share of PNEUMONIA in the tenth that a value falls into, learned on one half of the
            patients and tried on the other; sees a class that keeps to the middle or to both ends. None where a half
            lacks a class.
        note: why the AUROC is not defined or can't be but 0.5.
        num_without: class name → images that have no such number, and do not count here.
        histogram: of the images that have one.
    """

    auroc: float | None
    higher_in: str | None
    auroc_by_range: float | None
    note: str | None
    num_without: dict[str, int]
    histogram: Histogram

    @property
    def is_by_range(self) -> bool:
        """Whether ranges of the values tell clearly more than that they are high or low."""
        if self.auroc is None or self.auroc_by_range is None:
            return False
        return self.auroc_by_range > self.auroc + RANGE_GAIN

    @property
    def best(self) -> float | None:
        """The AUROC of the better way."""
        return self.auroc_by_range if self.is_by_range else self.auroc


@dataclass(frozen=True)
class Audit:
    """What single numbers tell of the class, over all records of a dataset. Holds no name and no row of an image.

    Attributes:
        num_images: by class name.
        num_groups: patients by class name.
        chance_auroc: 19 in 20 features that have nothing to do with the class stay below it with as many patients,
            or more do; None without patients of both classes.
        shortcuts: by name of the feature, as in `image_stats.FEATURES`.
    """

    num_images: dict[str, int]
    num_groups: dict[str, int]
    chance_auroc: float | None
    shortcuts: dict[str, Shortcut]

    def telling(self, auroc: float) -> dict[str, Shortcut]:
        """The features that tell the class with this AUROC or a higher one, and not by chance; the best first."""
        ranked = sorted(self.shortcuts.items(), key=lambda item: -(item[1].best or 0))
        chance = self.chance_auroc or 1.0
        return {name: each for name, each in ranked if each.best and each.best >= auroc and each.best > chance}

    def write(self, dataset: str | AnyPath) -> None:
        """Writes `audit.json`, whole."""
        write_text(to_path(dataset) / AUDIT_NAME, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, dataset: str | AnyPath) -> Audit | None:
        """Reads `audit.json`; None if it is not there or not what it should be."""
        try:
            content = json.loads((to_path(dataset) / AUDIT_NAME).read_text(encoding="utf-8"))
            shortcuts = {
                name: Shortcut(**{**shortcut, "histogram": Histogram(**shortcut["histogram"])})
                for name, shortcut in content.pop("shortcuts").items()
            }
            return cls(**content, shortcuts={name: shortcuts[name] for name in FEATURES})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def make_audit(images: Iterable[tuple[int, int, ImageStats]]) -> Audit:
    """Audits the records of a dataset.

    Args:
        images: label, rank of the patient (`sources.rank`) and stats of each, in any order.
    """
    of_class: list[list[tuple[int, ImageStats]]] = [[] for _ in CLASS_NAMES]
    groups: list[set[int]] = [set() for _ in CLASS_NAMES]
    for label, group_rank, stats in images:
        of_class[label].append((group_rank % 2, stats))
        groups[label].add(group_rank)
    return Audit(
        num_images=_by_class(map(len, of_class)),
        num_groups=_by_class(map(len, groups)),
        chance_auroc=_chance_auroc(*map(len, groups)),
        shortcuts={
            name: _shortcut(
                [[(feature.of(stats), half) for half, stats in members] for members in of_class], feature.steps
            )
            for name, feature in FEATURES.items()
        },
    )


def auroc(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """The chance that a positive is higher than a negative, ties counting half, from whole numbers.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, 1982 (the Mann-Whitney statistic).
    """
    ordered = sorted(negatives)
    twice = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in positives)
    return twice / (2 * len(ordered) * len(positives))


def auroc_by_range(classes: Sequence[Sequence[tuple[int, int]]]) -> float | None:
    """How well a value tells the class by the range it falls into, tried on patients not learned from.

    Args:
        classes: of the negatives and of the positives, value and half (0 or 1) of each.

    Returns:
        AUROC in 0..1, over pairs of the same half; None where a half lacks a class.
    """
    total, num_pairs = 0.0, 0
    for half in (0, 1):
        learned, tried = (
            [[v for v, h in members if (h == half) == same] for members in classes] for same in (False, True)
        )
        if not all(learned) or not all(tried):
            return None
        pooled = sorted(value for members in learned for value in members)
        edges = [pooled[len(pooled) * index // NUM_RANGES] for index in range(1, NUM_RANGES)]
        negatives, positives = (Counter(bisect_right(edges, value) for value in members) for members in learned)
        odds = [(positives[index] + 1) / (negatives[index] + 1) for index in range(NUM_RANGES)]
        scores = [[odds[bisect_right(edges, value)] for value in members] for members in tried]
        total += auroc(*scores) * len(scores[0]) * len(scores[1])
        num_pairs += len(scores[0]) * len(scores[1])
    return total / num_pairs


def _chance_auroc(num_negatives: int, num_positives: int) -> float | None:
    """What an AUROC whose true value is 0.5 passes 1 time in 20, be it by high, by low or by ranges of values."""
    if not num_negatives or not num_positives:
        return None
    deviation = math.sqrt((num_negatives + num_positives + 1) / (12 * num_negatives * num_positives))
    return round(min(0.5 + 2.13 * deviation, 1.0), 4)


def _shortcut(values: Sequence[Sequence[tuple[int | None, int]]], steps: int) -> Shortcut:
    """From the values, in steps, of each class, each with the half that its patient is in."""
    halved = [[(value, half) for value, half in members if value is not None] for members in values]
    present = [[value for value, _ in members] for members in halved]
    area: float | None = None
    higher_in = note = by_range = None
    if not all(present):
        note = "no image of a class has one"
    else:
        signed = auroc(*present)
        area = round(max(signed, 1 - signed), 4)
        by_range = auroc_by_range(halved)
        if signed != 0.5:
            higher_in = CLASS_NAMES[signed > 0.5]
        elif len({value for members in present for value in members}) == 1:
            note = "all the same"
    return Shortcut(
        auroc=area,
        higher_in=higher_in,
        auroc_by_range=None if by_range is None else round(by_range, 4),
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
