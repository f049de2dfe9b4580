"""Audits a dataset for shortcuts: numbers that tell the class but have nothing to do with the lung.

A model takes the easiest way. Where one class was exported at another size or JPEG quality, the model learns that.
Standard library only.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from beam_prep.dataset.image_stats import FEATURES, ImageStats
from beam_prep.dataset.schema import CLASS_NAMES

NUM_BINS = 30
NUM_RANGES = 10
RANGE_GAIN = 0.02  # gain in AUROC above which ranges tell more than the order of the values, and not by chance
CHANCE_DEVIATIONS = 3.05
"""The standard deviations by which about 1 in 200 features exceed 0.5: 1 in 20 divided by ten features (Bonferroni).

Of simulated features, one random number a patient, 0.5 % exceed it with 30 and 40 patients and 0.75 % with 100 and 300:
the better of ranges and order is more often high by chance than a normal value is.
"""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Histogram:
    """The number of images by class and value of a feature.

    Attributes:
        start: the lower edge of the first bin, in units of the feature.
        step: the width of a bin. The first and the last bin also hold the images beyond them.
        counts: class name → the number of images in each bin.
    """

    start: float
    step: float
    counts: dict[str, list[int]]

    @property
    def num_bins(self) -> int:
        """The number of bins: 0 where no image has the feature, 1 where all but a few have the same value."""
        return max(map(len, self.counts.values()), default=0)


@dataclass(frozen=True)
class Shortcut:
    """The result of the audit for one feature: how well it tells the class by itself.

    Attributes:
        auroc: the AUROC of the value, in whichever direction it is higher: from 0.5, which tells nothing, to 1; None
            where it is not defined.
        higher_in: the class with the higher values; None where neither has them.
        auroc_by_range: the AUROC of the share of the second class in the tenth that a value falls into, learned on one
            half of the patients and tried on the other. It recognizes a class that keeps to the middle or to both ends.
            None where a half lacks a class.
        note: the reason why the AUROC is not defined or is 0.5 in any case.
        num_without: class name → the number of images without this feature, which do not count here.
        histogram: the values of the images with this feature.
    """

    auroc: float | None
    higher_in: str | None
    auroc_by_range: float | None
    note: str | None
    num_without: dict[str, int]
    histogram: Histogram

    @property
    def is_by_range(self) -> bool:
        """True if the range of a value tells clearly more than whether it is high or low."""
        if self.auroc is None or self.auroc_by_range is None:
            return False
        return self.auroc_by_range > self.auroc + RANGE_GAIN

    @property
    def best(self) -> float | None:
        """The larger AUROC: by range if that tells clearly more, else by the value itself."""
        return self.auroc_by_range if self.is_by_range else self.auroc


@dataclass(frozen=True)
class Audit:
    """The shortcut audit over all records of a dataset, without any name or row of an image.

    Attributes:
        num_images: class name → the number of images.
        num_groups: class name → the number of patients.
        chance_auroc: the AUROC below which all features stay in some 19 of 20 datasets whose features have nothing to
            do with the class, for as many patients; None without patients of both classes.
        shortcuts: name of the feature, as in `image_stats.FEATURES` → its result.
    """

    num_images: dict[str, int]
    num_groups: dict[str, int]
    chance_auroc: float | None
    shortcuts: dict[str, Shortcut]

    def telling(self, auroc: float) -> dict[str, Shortcut]:
        """Returns the features whose AUROC is at least `auroc` and above chance, the best first."""
        ranked = sorted(self.shortcuts.items(), key=lambda item: -(item[1].best or 0))
        chance = self.chance_auroc or 1.0
        return {name: found for name, found in ranked if found.best and found.best >= auroc and found.best > chance}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Audit:
        """Makes an audit from the parsed JSON of `asdict`; raises a KeyError or a TypeError if it is none."""
        shortcuts = {
            name: Shortcut(**{**shortcut, "histogram": Histogram(**shortcut["histogram"])})
            for name, shortcut in content["shortcuts"].items()
        }
        later = {"darkest"} - set(shortcuts)  # datasets of before lack it
        return cls(**{**content, "shortcuts": {name: shortcuts[name] for name in FEATURES if name not in later}})


def make_audit(images: Iterable[tuple[int, int, ImageStats]], names: Sequence[str] = CLASS_NAMES) -> Audit:
    """Audits the records of a dataset.

    Args:
        images: label (0 or 1), rank of the patient (see `rank`) and statistics of each image, in any order.
        names: the names of the two classes.
    """
    of_class: list[list[tuple[int, ImageStats]]] = [[] for _ in names]
    groups: list[Counter[int]] = [Counter() for _ in names]
    for label, group_rank, stats in images:
        of_class[label].append((group_rank % 2, stats))
        groups[label][group_rank] += 1
    return Audit(
        num_images=_by_class(names, map(len, of_class)),
        num_groups=_by_class(names, map(len, groups)),
        chance_auroc=_chance_auroc(*(_effective_patients(of_class.values()) for of_class in groups)),
        shortcuts={
            name: _shortcut(
                [[(feature.of(stats), half) for half, stats in members] for members in of_class], feature.steps, names
            )
            for name, feature in FEATURES.items()
        },
    )


def auroc(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """Returns the probability that a positive is higher than a negative, where ties count half.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, 1982 (the Mann-Whitney statistic).
    """
    ordered = sorted(negatives)
    twice = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in positives)
    return twice / (2 * len(ordered) * len(positives))


def auroc_by_range(classes: Sequence[Sequence[tuple[int, int]]]) -> float | None:
    """Returns how well the range that a value falls into tells the class of patients that were not learned from.

    Args:
        classes: the value of each image and the half (0 or 1) of its patient, for the negatives and for the positives.

    Returns:
        The AUROC in 0..1, over pairs of the same half; None where a half lacks a class.
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


def _effective_patients(num_images: Iterable[int]) -> float:
    """Returns the number of patients with one image each that patients with some images each are worth.

    A patient's images are taken to be all alike, as sizes and compressions are; a patient with many images then counts
    for more than others, and the mean over all images is less certain.

    Source: Kish, Survey Sampling, 1965.
    """
    counts = list(num_images)
    return sum(counts) ** 2 / sum(count**2 for count in counts) if counts else 0.0


def _chance_auroc(num_negatives: float, num_positives: float) -> float | None:
    """Returns the value that the best AUROC of ten features exceeds by chance in some 1 of 20 datasets, or fewer.

    Each feature counts by its high, its low or its ranges of values.

    Args:
        num_negatives, num_positives: see `_effective_patients`.
    """
    if not num_negatives or not num_positives:
        return None
    deviation = math.sqrt((num_negatives + num_positives + 1) / (12 * num_negatives * num_positives))
    return round(min(0.5 + CHANCE_DEVIATIONS * deviation, 1.0), 4)


def _shortcut(values: Sequence[Sequence[tuple[int | None, int]]], steps: int, names: Sequence[str]) -> Shortcut:
    """Audits one feature.

    Args:
        values: the value of each image, in steps, and the half of its patient, for each class.
        steps: the number of steps to one unit of the feature.
        names: the names of the classes.
    """
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
            higher_in = names[signed > 0.5]
        elif len({value for members in present for value in members}) == 1:
            note = "all the same"
    return Shortcut(
        auroc=area,
        higher_in=higher_in,
        auroc_by_range=None if by_range is None else round(by_range, 4),
        note=note,
        num_without=_by_class(names, (len(all_) - len(having) for all_, having in zip(values, present, strict=True))),
        histogram=_histogram([sorted(members) for members in present], steps, names),
    )


def _histogram(values: Sequence[Sequence[int]], steps: int, names: Sequence[str]) -> Histogram:
    """Makes the histogram of the sorted values of each class.

    The bins span 98 in 100 values of either class, so that a single outlier does not stretch them.
    """
    if not any(values):
        return Histogram(0.0, 1.0, _by_class(names, ([] for _ in values)))
    low = min(members[len(members) // 100] for members in values if members)
    high = max(members[-1 - len(members) // 100] for members in values if members)
    step = -(-(high - low + 1) // NUM_BINS)
    num_bins = -(-(high - low + 1) // step)
    counts = [[0] * num_bins for _ in values]
    for members, bins in zip(values, counts, strict=True):
        for value in members:
            bins[min(max((value - low) // step, 0), num_bins - 1)] += 1
    return Histogram(low / steps, step / steps, _by_class(names, counts))


def _by_class(names: Sequence[str], values: Iterable[Value]) -> dict[str, Value]:
    """Maps the class names to values that stand in their order."""
    return dict(zip(names, values, strict=True))
