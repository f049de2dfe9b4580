"""Makes the tables of a dataset page that has more labels than two classes: counts, co-occurrence, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beam_prep.dataset.image_stats import FEATURES
from beam_prep.dataset.manifest import Manifest
from beam_prep.planning.label_audits import LabelAudits
from beam_prep.planning.shortcut_audit import Audit, Histogram
from beam_prep.report.small_models import SmallModels

ALL_IMAGES = "all images"


def count_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Returns the rows of the table of labels: the counts of each class by split, its prevalence and its weight."""
    rows = []
    for name in manifest.class_names:
        counts = {split: each.class_counts[name] for split, each in manifest.splits.items()}
        known = {
            split: (each.known_counts or {}).get(name, each.num_records) for split, each in manifest.splits.items()
        }
        num_known = sum(known.values())
        rows.append(
            {
                "name": name,
                "counts": counts,
                "known": known,
                "total": sum(counts.values()),
                "num_known": num_known,
                "prevalence": sum(counts.values()) / num_known if num_known else None,
                "weight": manifest.splits["train"].class_weights[name],
            }
        )
    return rows


def cooccurrence_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Returns the rows of the table of two findings: the images with both, and their share of those with the first."""
    return [
        {
            "name": name,
            "cells": [
                {"name": other, "count": count, "share": count / max(others[name], 1), "is_itself": other == name}
                for other, count in others.items()
            ],
        }
        for name, others in manifest.cooccurrence.items()
    ]


def shortcut_rows(
    audits: LabelAudits, small_models: Mapping[str, SmallModels | None], warn_auroc: float
) -> list[dict[str, Any]]:
    """Returns the rows of the table of shortcuts: how well each number tells a class from all other images.

    Args:
        audits: the audit of each class.
        small_models: class name → the AUROCs of the small models, see `small_model_aurocs`.
        warn_auroc: the AUROC from which a number tells much of a class.
    """
    return [
        {
            "name": name,
            "cells": [
                {"auroc": audit.shortcuts[feature].best, "is_telling": feature in telling}
                for feature in FEATURES
                if feature in audit.shortcuts
            ],
            "small_models": small_models.get(name),
            "chance": audit.chance_auroc,
            "telling": [FEATURES[feature].title for feature in telling],
        }
        for name, audit, telling in ((name, each, each.telling(warn_auroc)) for name, each in audits.by_class.items())
    ]


def pooled_histograms(audits: LabelAudits) -> dict[str, Histogram]:
    """Returns the histogram of each feature over all images, of the class that is known of the most images."""
    audit = max(audits.by_class.values(), key=_num_images)
    histograms = {}
    for name, shortcut in audit.shortcuts.items():
        counts = [sum(bins) for bins in zip(*shortcut.histogram.counts.values(), strict=True)]
        histograms[name] = Histogram(shortcut.histogram.start, shortcut.histogram.step, {ALL_IMAGES: counts})
    return histograms


def _num_images(audit: Audit) -> int:
    return sum(audit.num_images.values())
