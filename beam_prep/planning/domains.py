"""Counts the images of each domain, and measures how far the domain tells the class. Standard library only.

A domain is where an image comes from: a hospital, a scanner, a year. A model can recognize it, and where it tells the
class, the model need not look at the lung.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from beam_prep.dataset.manifest import DomainCounts
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from beam_prep.planning.outcomes import Prepared

UNKNOWN = "not known"
"""The words for the domain of images whose domain is not known."""
MAX_NAMED = 6  # domains that the console names

# The words for how much of the class the domain tells, from a value of Cramér's V on.
_VERDICTS = ((0.9, "nearly all"), (0.5, "much"), (0.2, "a little"), (0.0, "next to nothing"))


def count_domains(splits: Mapping[str, Sequence[Prepared]], labels: LabelSpace = DEFAULT_LABELS) -> DomainCounts:
    """Counts the images by domain, split and class that is true of them; returns nothing if no domain is known."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    found = {image.domain for images in splits.values() for image in images}
    if not any(found):
        return {}
    for split, images in splits.items():
        vectors = ((image.domain, labels.vector(image.label, image.findings)) for image in images)
        counts[split] = Counter((domain, name) for domain, vector in vectors for name in labels.names_of(vector))
    return {
        domain: {
            split: {name: of_split[domain, name] for name in labels.class_names} for split, of_split in counts.items()
        }
        for domain in sorted(found, key=lambda name: (not name, name))
    }


def totals_by_domain(domains: DomainCounts) -> dict[str, dict[str, int]]:
    """Adds up the counts of all splits: domain, or `UNKNOWN`, → class name → number of images; the largest first."""
    totals: dict[str, dict[str, int]] = {}
    for domain, by_split in domains.items():
        of_domain: Counter[str] = Counter()
        for by_class in by_split.values():
            of_domain.update(by_class)
        totals[domain or UNKNOWN] = dict(of_domain)
    return dict(sorted(totals.items(), key=lambda item: -sum(item[1].values())))


def cramers_v(domains: DomainCounts) -> float | None:
    """Returns how far the domain tells the class, from 0, which is nothing, to 1; None for one domain or one class.

    Source: Cramér, Mathematical Methods of Statistics, 1946, chapter 21 (the contingency coefficient V).
    """
    table = [list(by_class.values()) for by_class in totals_by_domain(domains).values()]
    rows = [sum(row) for row in table]
    columns = [sum(column) for column in zip(*table, strict=True)]
    smaller = min(sum(map(bool, rows)), sum(map(bool, columns)))
    if smaller < 2:
        return None
    # The sum over all cells of count² / (row * column), less 1, is χ² / N.
    cells = (
        count**2 / (row * column)
        for counts, row in zip(table, rows, strict=True)
        for count, column in zip(counts, columns, strict=True)
        if count
    )
    return math.sqrt(max(sum(cells) - 1, 0.0) / (smaller - 1))


def describe_domains(domains: DomainCounts, labels: LabelSpace = DEFAULT_LABELS) -> Iterator[str]:
    """Says the counts by domain and class, and how far the domain tells the class, each in one line."""
    totals = totals_by_domain(domains)
    if not totals:
        return
    named = [
        f"{domain} " + " and ".join(f"{count:,} {name}" for name, count in by_class.items() if count)
        for domain, by_class in totals.items()
    ]
    more = [f"{len(named) - MAX_NAMED} more"] if len(named) > MAX_NAMED else []
    yield "; ".join(named[:MAX_NAMED] + more)
    if told := tell_class(domains, labels):
        yield told


def tell_class(domains: DomainCounts, labels: LabelSpace = DEFAULT_LABELS) -> str | None:
    """Says in one sentence how far the domain tells the class; None for a single domain, and for the multilabel task.

    An image of the multilabel task is counted with each of its findings, so that the counts are no table of images.
    """
    association = None if labels.is_multilabel else cramers_v(domains)
    if association is None:
        return None
    totals = totals_by_domain(domains)
    of_one = [domain for domain, by_class in totals.items() if sum(map(bool, by_class.values())) == 1]
    if len(of_one) == len(totals):
        return f"the domain tells the class: each domain holds one class only (Cramér's V {association:.2f})"
    words = next(words for least, words in _VERDICTS if association >= least)
    single = f"; of one class only: {', '.join(of_one[:MAX_NAMED])}" if of_one else ""
    return f"the domain tells {words} of the class (Cramér's V {association:.2f}){single}"
