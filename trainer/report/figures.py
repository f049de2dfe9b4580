"""Draws the figures of the run page that show scores: histogram, reliability diagram, robustness; as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.pages.page import CLASS_COLOURS, INK, MUTED, RULE, figure_svg, literal
from trainer.evaluation.calibration import calibrate, expected_calibration_error, reliability
from trainer.evaluation.predictions import Predictions
from trainer.run.model_card import OperatingPoint

if TYPE_CHECKING:
    from markupsafe import Markup

SCORE_BINS = 25


def score_histogram(predictions: Predictions, threshold: float) -> Markup:
    """Draws a histogram of the predicted probabilities for each of two classes, one panel a class.

    Args:
        predictions: of a split.
        threshold: the probability at or above which an image is called positive; drawn as a line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.8, 3.7), layout="constrained")
    panels = figure.subplots(2, sharex=True, sharey=True)
    for label, (axes, name) in enumerate(zip(panels, predictions.class_names, strict=True)):
        of_class = predictions.probabilities[predictions.labels == label]
        counts, edges = np.histogram(of_class, bins=SCORE_BINS, range=(0, 1))
        share = 100 * counts / max(len(of_class), 1)
        axes.stairs(share, edges, fill=True, color=CLASS_COLOURS[label], linewidth=0)
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_title(f"{literal(name)}, {len(of_class):,} images", color=CLASS_COLOURS[label], loc="left")
        axes.set_xlim(0, 1)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_ylabel("% of class")
    panels[-1].set_xlabel(f"probability of {literal(predictions.class_names[1])} (threshold {threshold:.3g})")
    return figure_svg(figure, f"Histogram of the predicted probability by class, with the threshold at {threshold:.3g}")


def reliability_diagram(predictions: Predictions, point: OperatingPoint) -> Markup:
    """Draws the share of images that are positive by predicted probability, before and after temperature scaling.

    Args:
        predictions: of a split of two classes.
        point: the operating point, whose temperature and bias calibrate.
    """
    from matplotlib.figure import Figure

    labels, probabilities, positive = predictions.labels, predictions.probabilities, literal(predictions.class_names[1])
    figure = Figure(figsize=(3.8, 3.7), layout="constrained")
    main, below = figure.subplots(2, sharex=True, height_ratios=(3.4, 1))
    main.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
    texts = []
    drawn: tuple[tuple[str, np.ndarray, str, Any], ...] = (
        ("uncalibrated", probabilities, MUTED, (0, (4, 2))),
        ("calibrated", calibrate(probabilities, point), INK, "solid"),
    )
    for name, scores, colour, dashes in drawn:
        mean, share, counts = reliability(labels, scores)
        error = expected_calibration_error(labels, scores)
        texts.append(f"{name}, ECE {error:.3f}")
        filled = np.isfinite(share)
        main.plot(mean[filled], share[filled], "o", linestyle=dashes, color=colour, markersize=4, label=texts[-1])
        edges = np.linspace(0, 1, len(counts) + 1)
        below.stairs(100 * counts / len(labels), edges, color=colour, linestyle=dashes, linewidth=1.4)
    main.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel=f"share that is\n{positive}")
    below.set(xlabel=f"probability of {positive}", ylabel="% of\nimages")
    main.grid(color=RULE, linewidth=0.8)
    figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", frameon=False, borderaxespad=0)
    return figure_svg(figure, f"Reliability diagram in ten bins: {'; '.join(texts)}")


def robustness(rows: Sequence[Mapping[str, Any]], clean: float) -> Markup | None:
    """Draws the AUROC of perturbed images by level, a panel for each kind of perturbation, with 95 % intervals.

    Args:
        rows: the entry `robustness` of a split in `metrics.json`.
        clean: the AUROC of the unchanged images, drawn as a dashed line.

    Returns:
        The figure; None if no AUROC is defined.
    """
    from matplotlib.figure import Figure

    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["auroc"] is not None:
            kinds.setdefault(row["kind"], []).append(row)
    if not kinds:
        return None
    columns = min(len(kinds), 4)
    lines = -(-len(kinds) // columns)
    figure = Figure(figsize=(9.8, 0.3 + 2.1 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, (kind, levels) in zip(panels, kinds.items(), strict=False):
        values = np.array([row["auroc"] for row in levels])
        bounds = np.array([row["auroc_ci95"] or (row["auroc"],) * 2 for row in levels])  # [levels, 2]
        spread = np.abs(bounds.T - values)
        axes.axhline(clean, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
        axes.errorbar(range(len(levels)), values, spread, color=INK, marker="o", markersize=4, linewidth=1.4)
        axes.set_title(kind, loc="left")
        axes.set_xticks(range(len(levels)), [row["level"] for row in levels])
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("AUROC")
    lowest = min((row for levels in kinds.values() for row in levels), key=lambda row: row["auroc"])
    return figure_svg(
        figure,
        f"AUROC of perturbed images by kind and level, {clean:.3f} of the unchanged images; "
        f"lowest {lowest['auroc']:.3f} ({lowest['kind']}, {lowest['level']})",
    )
