"""The plots of the run report, each as inline SVG in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.pages.page import CLASS_COLOURS, INK, MUTED, RULE, figure_svg
from trainer.evaluation.calibration import calibrate, expected_calibration_error, reliability
from trainer.evaluation.predictions import SavedPredictions

if TYPE_CHECKING:
    from markupsafe import Markup

Band = tuple[np.ndarray, np.ndarray]
"""Lower and upper edge on `BAND_GRID`."""

BAND_GRID = np.linspace(0, 1, 201)
SCORE_BINS = 25
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training"}
PHASE_NAMES = {"train": "training", "head": "head", "fine_tune": "fine-tuning"}


def learning_curves(
    history: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, *, metric: str, title: str, strip: str
) -> Markup:
    """One metric over the epochs, on the training and on the validation images, and another one in a strip below.

    Args:
        history: one entry an epoch, in order: phase and numbers by column, NaN for one that is missing.
        best: phase and epoch (from 1 in its phase) of the model that was kept, to be marked; None marks nothing.
        metric: column, `val_` before it gives that of validation.
        title: what to call the metric.
        strip: column drawn below: `learning_rate`, on a logarithmic axis, or a metric in 0..1.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.7, 3.9), layout="constrained")
    main, below = figure.subplots(2, sharex=True, height_ratios=(3.4, 1))
    epochs = np.arange(1, len(history) + 1)
    few = "o" if len(history) < 3 else None  # a line through one point is none
    main.plot(epochs, _column(history, metric), color=MUTED, linestyle=(0, (4, 2)), marker=few, label="training")
    validation = _column(history, f"val_{metric}")
    main.plot(epochs, validation, color=INK, linewidth=1.8, marker=few, label="validation")
    for index, row in enumerate(history):
        if best and (row["phase"], row["epoch"]) == (best.get("phase"), best.get("epoch")):
            main.plot(epochs[index], validation[index], "o", color=INK, markersize=6, label="model kept")
    main.set_ylabel(title)
    below.plot(epochs, _column(history, strip), color=INK, linewidth=1.4, drawstyle="steps-mid", marker=few)
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    below.set_ylabel({"learning_rate": "learning\nrate", "val_auroc": "validation\nAUROC"}[strip])
    if strip == "learning_rate" and np.any(_column(history, strip) > 0):
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
    last = {name: values[-1] for name, values in (("training", _column(history, metric)), ("validation", validation))}
    ends = ", ".join(f"{value:.3f} ({name})" for name, value in last.items() if math.isfinite(value))
    return figure_svg(figure, f"{title} by epoch, {len(history)} epochs; at the end {ends}")


def roc_curve(
    predictions: Mapping[str, SavedPredictions], metrics: Mapping[str, Any], band: Band | None = None
) -> Markup | None:
    """Sensitivity against 1 - specificity.

    Args:
        predictions: by split.
        metrics: by split, as in `metrics.json`.
        band: where the curve of the first split runs in 95 % of the resamples, on `BAND_GRID`.

    Returns:
        None if no split has images of both classes.
    """
    from sklearn import metrics as sk

    curves = {}
    for split, each in _with_both_classes(predictions).items():
        false_alarms, found, _ = sk.roc_curve(each.labels, each.probabilities)
        curves[split] = (false_alarms, found)
    points = {
        split: (1 - numbers["specificity"], numbers["sensitivity"])
        for split, numbers in metrics.items()
        if None not in (numbers.get("specificity"), numbers.get("sensitivity"))
    }
    areas = {split: numbers.get("auroc") for split, numbers in metrics.items()}
    return _curves(curves, points, areas, "1 − specificity", "sensitivity", "ROC curve", "AUROC", "lower right", band)


def precision_recall_curve(
    predictions: Mapping[str, SavedPredictions], metrics: Mapping[str, Any], band: Band | None = None
) -> Markup | None:
    """Precision against recall of PNEUMONIA; arguments and result as of `roc_curve`."""
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


def score_histogram(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> Markup:
    """How the predicted probabilities of each class are spread, one panel a class.

    Args:
        labels: int [N].
        probabilities: float [N] in 0..1, of PNEUMONIA.
        threshold: at or above it an image is called PNEUMONIA.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3.7), layout="constrained")
    panels = figure.subplots(len(CLASS_NAMES), sharex=True, sharey=True)
    for label, (axes, name) in enumerate(zip(panels, CLASS_NAMES, strict=True)):
        of_class = probabilities[labels == label]
        counts, edges = np.histogram(of_class, bins=SCORE_BINS, range=(0, 1))
        share = 100 * counts / max(len(of_class), 1)
        axes.stairs(share, edges, fill=True, color=CLASS_COLOURS[label], linewidth=0)
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_title(f"{name}, {len(of_class):,} images", color=CLASS_COLOURS[label], loc="left", fontsize=10)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_ylabel("% of class")
    panels[-1].set_xlabel(f"probability of PNEUMONIA (threshold {threshold:.3g})")
    return figure_svg(figure, f"Histogram of the predicted probability by class, with the threshold at {threshold:.3g}")


def reliability_diagram(labels: np.ndarray, probabilities: np.ndarray, temperature: float) -> Markup:
    """How often images are PNEUMONIA by the probability that they were given, as it is and at the temperature.

    Args:
        labels: int [N].
        probabilities: float [N] in 0..1, of PNEUMONIA.
        temperature: fitted on validation.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3.7), layout="constrained")
    main, below = figure.subplots(2, sharex=True, height_ratios=(3.4, 1))
    main.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
    texts = []
    for name, each, colour in (("as it is", probabilities, MUTED), ("calibrated", None, INK)):
        scores = calibrate(probabilities, temperature) if each is None else each
        mean, share, counts = reliability(labels, scores)
        error = expected_calibration_error(labels, scores)
        texts.append(f"{name}, ECE {error:.3f}")
        dashes = "solid" if each is None else (0, (4, 2))
        filled = np.isfinite(share)
        main.plot(mean[filled], share[filled], "o", linestyle=dashes, color=colour, markersize=4, label=texts[-1])
        edges = np.linspace(0, 1, len(counts) + 1)
        below.stairs(100 * counts / len(labels), edges, color=colour, linestyle=dashes, linewidth=1.4)
    main.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="share that is\nPNEUMONIA")
    below.set(xlabel="probability of PNEUMONIA", ylabel="% of\nimages")
    main.grid(color=RULE, linewidth=0.8)
    figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", frameon=False, borderaxespad=0)
    return figure_svg(figure, f"Reliability diagram in ten bins: {'; '.join(texts)}")


def robustness(rows: Sequence[Mapping[str, Any]], clean: float) -> Markup | None:
    """AUROC by level, a panel for each kind of spoilt images, with 95 % intervals.

    Args:
        rows: as in `metrics.json`, kind by kind.
        clean: AUROC of the images as they are, dashed.

    Returns:
        None if it is not defined.
    """
    from matplotlib.figure import Figure

    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["auroc"] is not None:
            kinds.setdefault(row["kind"], []).append(row)
    if not kinds:
        return None
    columns = min(len(kinds), 5)
    lines = -(-len(kinds) // columns)
    figure = Figure(figsize=(9.8, 0.3 + 2.1 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, (kind, levels) in zip(panels, kinds.items(), strict=False):
        values = np.array([row["auroc"] for row in levels])
        bounds = np.array([row["auroc_ci95"] or (row["auroc"],) * 2 for row in levels])  # [levels, 2]
        spread = np.abs(bounds.T - values)
        axes.axhline(clean, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
        axes.errorbar(range(len(levels)), values, spread, color=INK, marker="o", markersize=4, linewidth=1.4)
        axes.set_title(kind, loc="left", fontsize=9)
        axes.set_xticks(range(len(levels)), [row["level"] for row in levels], fontsize=8)
        axes.set_xlim(-0.5, len(levels) - 0.5)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("AUROC")
    lowest = min((row for levels in kinds.values() for row in levels), key=lambda row: row["auroc"])
    return figure_svg(
        figure,
        f"AUROC of spoilt images by kind and level, {clean:.3f} of those as they are; "
        f"lowest {lowest['auroc']:.3f} ({lowest['kind']}, {lowest['level']})",
    )


def _column(history: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in history], dtype=float)


def _with_both_classes(predictions: Mapping[str, SavedPredictions]) -> dict[str, SavedPredictions]:
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
    figure = Figure(figsize=(4, 3.7), layout="constrained")
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
