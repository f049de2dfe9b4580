"""Draws the figures of several classes or findings: their AUROCs with intervals, and a small curve for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.pages.page import INK, MUTED, RULE, figure_svg, literal
from trainer.evaluation.calibration import calibrate, reliability
from trainer.evaluation.predictions import Predictions
from trainer.report.curves import SPLIT_NAMES
from trainer.run.model_card import OperatingPoint

if TYPE_CHECKING:
    from markupsafe import Markup

COLUMNS = 5
"""The number of small curves in a row."""
MAX_NAME = 24
"""The number of letters after which a name is cut above a small curve."""

Lines = Iterable[tuple[np.ndarray, np.ndarray]]
"""The coordinates x and y of some lines, float [N] each; the first line is that of the leading split."""


def forest(metrics: Mapping[str, Any], class_names: Sequence[str]) -> Markup:
    """Draws the AUROC of each class with its 95 % interval, and the mean of all below, for each split.

    Args:
        metrics: the content of `metrics.json`, by split, the leading one first.
        class_names: the names of the classes or findings.
    """
    from matplotlib.figure import Figure

    names = [*class_names, "mean (macro)"]
    figure = Figure(figsize=(9.8, 0.9 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    texts = []
    for order, (split, numbers) in enumerate(metrics.items()):
        rows = [*(numbers["classes"][name] for name in class_names), numbers["macro"]]
        drawn = [(place, row) for place, row in enumerate(rows) if row["auroc"] is not None]
        values = np.array([row["auroc"] for _, row in drawn])
        bounds = np.array([row["auroc_ci95"] or [row["auroc"]] * 2 for _, row in drawn]).reshape(-1, 2)
        axes.errorbar(
            values,
            [place + 0.16 * order for place, _ in drawn],
            xerr=np.abs(bounds.T - values),
            fmt="s" if order else "o",
            color=MUTED if order else INK,
            markersize=4 if order else 6,
            linewidth=1.2 if order else 1.8,
            label=SPLIT_NAMES.get(split, split),
        )
        texts.append(
            f"{SPLIT_NAMES.get(split, split)}: "
            + ", ".join(f"{names[place]} {row['auroc']:.3f}" for place, row in drawn)
        )
    axes.axvline(0.5, color=RULE, linewidth=1)
    axes.axhline(len(class_names) - 0.5, color=RULE, linewidth=1)
    axes.set_yticks(range(len(names)), [literal(name) for name in names])
    axes.set(ylim=(len(names) - 0.4, -0.5), xlabel="AUROC")
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False)
    return figure_svg(figure, f"AUROC of each class with its 95 % interval; {'; '.join(texts)}")


def curves_by_class(predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], *, kind: str) -> Markup | None:
    """Draws a small ROC or precision-recall curve of each class against the rest, with a line for each split.

    Args:
        predictions: by split, the leading one first.
        metrics: the content of `metrics.json`, by split.
        kind: `roc` or `precision_recall`.

    Returns:
        The figure; None if no split has predictions.
    """
    from sklearn import metrics as sk

    def line(one: Predictions) -> tuple[np.ndarray, np.ndarray]:
        if kind == "roc":
            false_positive_rate, sensitivity, _ = sk.roc_curve(one.labels, one.probabilities)
            return false_positive_rate, sensitivity
        precision, recall, _ = sk.precision_recall_curve(one.labels, one.probabilities)
        return recall, precision

    if not predictions:
        return None
    area, title = {"roc": ("auroc", "ROC curve"), "precision_recall": ("auprc", "Precision-recall curve")}[kind]
    axis_titles = {"roc": ("1 − specificity", "sensitivity"), "precision_recall": ("recall", "precision")}[kind]
    lead = next(iter(predictions))
    areas = [metrics[lead]["classes"][name][area] for name in predictions[lead].class_names]

    def lines(index: int) -> Lines:
        parts = (each.against_rest(index) for each in predictions.values())
        return [line(part) for part in parts if len(np.unique(part.labels)) == 2]

    return _small_multiples(
        *(predictions[lead].class_names, areas, lines, axis_titles, f"{title} of each class"),
        has_diagonal=kind == "roc",
    )


def reliability_by_class(predictions: Predictions, point: OperatingPoint) -> Markup:
    """Draws a small reliability diagram of each class against the rest: calibrated, and dashed uncalibrated."""
    calibrated = calibrate(predictions.probabilities, point)

    def lines(index: int) -> Lines:
        known = predictions.truths[:, index] >= 0
        labels = predictions.truths[known, index]
        for scores in (calibrated, predictions.probabilities):
            mean, share, _ = reliability(labels, scores[known, index])
            filled = np.isfinite(share)
            yield mean[filled], share[filled]

    names = predictions.class_names
    titles = ("probability", "share that has it")
    return _small_multiples(names, [None] * len(names), lines, titles, "Reliability diagram of each class")


def _small_multiples(
    names: Sequence[str],
    areas: Sequence[float | None],
    lines: Callable[[int], Lines],
    axis_titles: tuple[str, str],
    title: str,
    *,
    has_diagonal: bool = True,
) -> Markup:
    """Draws a small panel for each class, all with axes from 0 to 1.

    Args:
        names: the names of the classes.
        areas: a number of each class for its title; None leaves it out.
        lines: from the index of a class to its lines.
        axis_titles: the titles of the axes x and y.
        title: the description of the figure, which the areas follow.
        has_diagonal: draw the line on which x and y are equal.
    """
    from matplotlib.figure import Figure

    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(9.8, 0.4 + (9.8 / columns if columns > 3 else 3.2) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, (axes, name, area) in enumerate(zip(panels.ravel(), names, areas, strict=False)):
        if has_diagonal:
            axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
        for order, (x, y) in enumerate(lines(index)):
            style: dict[str, Any] = {"color": MUTED, "linestyle": (0, (4, 2))} if order else {"color": INK}
            few = "o" if len(x) < 4 else None  # a line through a single point would be invisible
            axes.plot(x, y, linewidth=1 if order else 1.6, zorder=3 - order, marker=few, markersize=3, **style)
        cut = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
        axes.set_title(literal(cut) + ("" if area is None else f"  {area:.3f}"), loc="left")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.grid(color=RULE, linewidth=0.8)
        axes.set_aspect("equal")
    for axes in panels.ravel()[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel(axis_titles[0])
    figure.supylabel(axis_titles[1])
    found = [f"{name} {area:.3f}" for name, area in zip(names, areas, strict=True) if area is not None]
    return figure_svg(figure, f"{title}: {', '.join(found)}" if found else title)
