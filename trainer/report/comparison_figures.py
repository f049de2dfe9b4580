"""The plots of the comparison page: all runs on one pair of axes, told apart by colour and by dashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.pages.page import RULE, figure_svg
from trainer.evaluation.predictions import SavedPredictions

if TYPE_CHECKING:
    from markupsafe import Markup

# Each stands out by 3:1 at least from the paper of the page, in light and dark mode.
COLOURS = ("#2f7fc1", "#c4621a", "#2c8f5a", "#a55bb5", "#8a7a1e", "#c24a6e")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)))


def roc_of_runs(runs: Sequence[tuple[str, SavedPredictions, Mapping[str, Any]]]) -> Markup | None:
    """The ROC curve of each run, with a dot at its threshold.

    Args:
        runs: name, predictions and the numbers of the split.

    Returns:
        None if no run was evaluated on both classes.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    if not (drawn := [run for run in runs if run[2].get("auroc") is not None]):
        return None
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    texts = []
    for index, (name, predictions, numbers) in enumerate(drawn):
        false_alarms, found, _ = roc_curve(predictions.labels, predictions.probabilities)
        texts.append(f"{name}, AUROC {numbers['auroc']:.3f}")
        axes.plot(false_alarms, found, label=texts[-1], **_style(index))
        axes.plot(1 - numbers["specificity"], numbers["sensitivity"], "o", color=_style(index)["color"], markersize=6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="sensitivity")
    axes.grid(color=RULE, linewidth=0.8)
    axes.legend(loc="lower right", frameon=False)
    return figure_svg(figure, f"ROC curves: {'; '.join(texts)}")


def curves_of_runs(runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[Markup]:
    """Validation loss and AUROC by epoch, a line for each run.

    Args:
        runs: name and history, as `run_folder.read_history` gives it; empty histories are left out.
    """
    drawn = [run for run in runs if run[1]]
    titles = {"val_loss": "validation loss", "val_auroc": "validation AUROC"}
    return [_curves(drawn, column, title) for column, title in titles.items()] if drawn else []


def _curves(runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], column: str, title: str) -> Markup:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.7, 3.9), layout="constrained")
    axes = figure.subplots()
    texts = []
    for index, (name, history) in enumerate(runs):
        values = np.array([row[column] for row in history], dtype=float)
        epochs = np.arange(1, len(values) + 1)
        few = "o" if len(values) < 3 else None
        axes.plot(epochs, values, label=name, marker=few, **_style(index))
        begins = [i for i in range(1, len(history)) if history[i]["phase"] != history[i - 1]["phase"]]
        colour = _style(index)["color"]
        axes.plot(epochs[begins], values[begins], "o", markerfacecolor="none", markeredgecolor=colour, markersize=9)
        texts.append(f"{name} {values[-1]:.3f} after {len(values)} epochs")
    axes.set(xlabel="epoch", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure_svg(figure, f"{title} by epoch: {'; '.join(texts)}")


def _style(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8}
