"""Draws the ROC, precision-recall and learning curves of a run as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beam_prep.pages.page import INK, MUTED, RULE, SERIES_COLOURS, figure_svg
from trainer.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from markupsafe import Markup

Band = tuple[np.ndarray, np.ndarray]
"""The lower and the upper edge of a band, float [201] each, at the places of `BAND_GRID`."""

BAND_GRID = np.linspace(0, 1, 201)
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training", "all": "pooled"}
PHASE_NAMES = {"train": "training", "head": "head", "fine_tune": "fine-tuning"}
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))


def learning_curves(
    history: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, *, metric: str, title: str, strip: str
) -> Markup:
    """Draws a metric of the training and of the validation images by epoch, and a second metric in a strip below.

    Args:
        history: the rows of `history.csv`, one an epoch, in order; a missing number is NaN.
        best: phase and epoch (from 1 in the phase) of the model that was kept, which is marked; None marks nothing.
        metric: the column of the training metric; `val_` and this name is the column of the validation metric.
        title: the name of the metric in the figure.
        strip: the column drawn below: `learning_rate`, on a logarithmic axis, or `val_auroc`.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.6, 3.9), layout="constrained")
    main, below = figure.subplots(2, sharex=True, height_ratios=(3.4, 1))
    epochs = np.arange(1, len(history) + 1)
    few = "o" if len(history) < 3 else None  # a line through a single point would be invisible
    main.plot(epochs, column(history, metric), color=MUTED, linestyle=(0, (4, 2)), marker=few, label="training")
    validation = column(history, f"val_{metric}")
    main.plot(epochs, validation, color=INK, linewidth=1.8, marker=few, label="validation")
    for index, row in enumerate(history):
        if best and (row["phase"], row["epoch"]) == (best.get("phase"), best.get("epoch")):
            main.plot(epochs[index], validation[index], "o", color=INK, markersize=6, label="model kept")
    main.set_ylabel(title)
    below.plot(epochs, column(history, strip), color=INK, linewidth=1.4, drawstyle="steps-mid", marker=few)
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    below.set_ylabel({"learning_rate": "learning\nrate", "val_auroc": "validation\nAUROC"}[strip])
    if strip == "learning_rate" and np.any(column(history, strip) > 0):
        below.set_yscale("log")
        below.minorticks_off()
    phases = [row["phase"] for row in history]
    for index in [0, *(i for i in range(1, len(phases)) if phases[i] != phases[i - 1])]:
        if index:
            for axes in (main, below):
                axes.axvline(index + 0.5, color=MUTED, linewidth=0.8)
        if len(set(phases)) > 1:
            place = (index + 0.5 if index else 0.6, 1.01)
            transform = main.get_xaxis_transform()
            main.text(*place, PHASE_NAMES.get(phases[index], phases[index]), transform=transform, color=MUTED)
    for axes in (main, below):
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_xlim(0.5, len(history) + 0.5)
    figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, borderaxespad=0)
    last = {name: values[-1] for name, values in (("training", column(history, metric)), ("validation", validation))}
    ends = ", ".join(f"{value:.3f} ({name})" for name, value in last.items() if math.isfinite(value))
    return figure_svg(figure, f"{title} by epoch, {len(history)} epochs; at the end {ends}")


def roc_curve(
    predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], band: Band | None = None
) -> Markup | None:
    """Draws the ROC curve of each split of a run, with a dot at the threshold.

    Args:
        predictions: by split.
        metrics: the content of `metrics.json`, by split.
        band: the band in which the curve of the first split lies in 95 % of the resamples.

    Returns:
        The figure; None if no split has images of both classes.
    """
    from sklearn import metrics as sk

    curves = {}
    for split, each in _with_both_classes(predictions).items():
        false_positive_rate, sensitivity, _ = sk.roc_curve(each.labels, each.probabilities)
        curves[split] = (false_positive_rate, sensitivity)
    points = {
        split: (1 - numbers["specificity"], numbers["sensitivity"])
        for split, numbers in metrics.items()
        if None not in (numbers.get("specificity"), numbers.get("sensitivity"))
    }
    areas = {split: numbers.get("auroc") for split, numbers in metrics.items()}
    return _curves(curves, points, areas, "1 − specificity", "sensitivity", "ROC curve", "AUROC", "lower right", band)


def precision_recall_curve(
    predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], band: Band | None = None
) -> Markup | None:
    """Draws the precision-recall curve of the positive class of each split of a run, with a dot at the threshold.

    Args and Returns: as of `roc_curve`.
    """
    from sklearn import metrics as sk

    curves, points = {}, {}
    for split, each in _with_both_classes(predictions).items():
        precision, recall, _ = sk.precision_recall_curve(each.labels, each.probabilities)
        curves[split] = (recall, precision)
        cells = metrics[split]["confusion_matrix"]
        if cells["tp"] + cells["fp"]:
            points[split] = (cells["tp"] / (cells["tp"] + cells["fn"]), cells["tp"] / (cells["tp"] + cells["fp"]))
    areas = {split: numbers.get("auprc") for split, numbers in metrics.items()}
    return _curves(curves, points, areas, "recall", "precision", "Precision-recall curve", "AUPRC", "lower left", band)


def column(history: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Returns a column of the history of a run, float [epochs]."""
    return np.array([row[name] for row in history], dtype=float)


def _with_both_classes(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
    return {split: each for split, each in predictions.items() if len(np.unique(each.labels)) == 2}


def _curves(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    points: Mapping[str, tuple[float, float]],
    areas: Mapping[str, float | None],
    x_label: str,
    y_label: str,
    title: str,
    area_name: str,
    legend: Literal["lower left", "lower right"],
    band: Band | None,
) -> Markup | None:
    from matplotlib.figure import Figure

    if not curves:
        return None
    figure = Figure(figsize=(3.8, 3.7), layout="constrained")
    axes = figure.subplots()
    texts = {}
    for index, (split, (x, y)) in enumerate(curves.items()):
        area = areas.get(split)
        texts[split] = SPLIT_NAMES[split] + (f", {area_name} {area:.3f}" if area is not None else "")
        style: dict[str, Any] = (
            {"color": MUTED, "linestyle": (0, (4, 2))} if index else {"color": INK, "linewidth": 1.8}
        )
        axes.plot(x, y, label=texts[split], zorder=3 - 0.1 * index, **style)
        if split in points:
            axes.plot(*points[split], "o", color=style["color"], markersize=6, zorder=4)
    if band is not None:
        axes.fill_between(BAND_GRID, *band, color=INK, alpha=0.14, linewidth=0, zorder=2)
    if area_name == "AUROC":
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=RULE, linewidth=0.8)
    axes.legend(loc=legend, frameon=False)
    return figure_svg(figure, f"{title}: {'; '.join(texts.values())}")


def series_style(index: int) -> dict[str, Any]:
    """Returns the style of the line of one of several series, such as runs."""
    return {
        "color": SERIES_COLOURS[index % len(SERIES_COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 1.8,
    }
