"""Prepares the section of the run page about sets of other sources: numbers beside validation, and what shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.dataset.schema import BINARY
from beam_prep.pages.page import CLASS_COLOURS, INK, RULE, SERIES_COLOURS, figure_svg, literal
from trainer.evaluation.predictions import Predictions, external_split, read_predictions
from trainer.report.curves import DASHES, SPLIT_NAMES
from trainer.run.folder import EXTERNAL_PREFIX
from trainer.run.model_card import ModelCard

if TYPE_CHECKING:
    from markupsafe import Markup

SCORE_BINS = 20


def transfer_section(
    run: Path,
    all_metrics: Mapping[str, Any],
    metrics: Mapping[str, Any],
    predictions: Mapping[str, Predictions],
    history: Sequence[Mapping[str, Any]],
    card: ModelCard,
) -> dict[str, Any]:
    """Returns what the template of the section needs.

    Args:
        run: the run folder.
        all_metrics: the content of `metrics.json`.
        metrics: the part of it that holds splits, by name.
        predictions: the predictions by split.
        history: the rows of `history.csv`.
        card: the model card of the run.

    Returns:
        `sets`: the numbers of each set of another source by its title; `val`: those of the validation images of the
        run, None if it has none; the figures `scores` and `curve`, None without data.
    """
    of_set = {split: values for split, values in metrics.items() if "transfer" in values}
    followed = all_metrics.get("external", {})
    sets = {_title(values, split if len(of_set) > 1 else None): values for split, values in of_set.items()}
    drawn = {title: predictions[split] for title, split in zip(sets, of_set, strict=True) if split in predictions}
    for name, values in followed.items():
        sets[_title(values)] = values
        if (read := read_predictions(run, external_split(name), card.class_names)) is not None:
            drawn[_title(values)] = read
    val, predicted = metrics.get("val"), predictions.get("val")
    if of_set:  # the splits are those of another dataset, and validation is that of the run above this folder
        val = next(iter(of_set.values()))["transfer"].get("validation")
        is_below = val is not None and run.parent.name == "evaluations"
        predicted = read_predictions(run.parent.parent, "val", card.class_names) if is_below else None
    if predicted is not None:
        drawn = {"validation": predicted, **drawn}
    names = [values["transfer"]["name"] for values in followed.values()]
    return {
        "sets": sets,
        "val": val,
        "scores": scores_by_source(drawn) if sets and drawn and card.task == BINARY else None,
        "curve": auroc_by_epoch(history, names) if names and history else None,
    }


def scores_by_source(predictions: Mapping[str, Predictions]) -> Markup:
    """Draws the distribution of the probabilities of each of two classes, with a line for validation and for each set.

    Args:
        predictions: by the title of the line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.9), layout="constrained")
    class_names = next(iter(predictions.values())).class_names
    panels = figure.subplots(len(class_names), sharex=True)
    edges, texts = np.linspace(0, 1, SCORE_BINS + 1), []
    for label, (axes, name) in enumerate(zip(panels, class_names, strict=True)):
        for index, (title, each) in enumerate(predictions.items()):
            scores = each.probabilities[each.labels == label]
            if not len(scores):
                continue
            share = 100 * np.histogram(scores, bins=edges)[0] / len(scores)
            axes.stairs(share, edges, label=literal(title), baseline=None, **_style(index))
            texts.append(f"{name} of {title}: median {np.median(scores):.3f}")
        axes.set_title(literal(name), color=CLASS_COLOURS[label], loc="left")
        axes.set(xlim=(0, 1), ylabel="% of class")
        axes.grid(axis="y", color=RULE, linewidth=0.8)
    panels[-1].set_xlabel(f"probability of {literal(class_names[1])}")
    labelled = max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    figure.legend(*labelled.get_legend_handles_labels(), loc="outside upper left", frameon=False, borderaxespad=0)
    return figure_svg(figure, f"Distribution of the predicted probability by class and source: {'; '.join(texts)}")


def auroc_by_epoch(history: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
    """Draws the AUROC of validation and of the sets of other sources by epoch.

    Args:
        history: the rows of `history.csv`; a missing number is NaN.
        names: the names of the sets.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.6, 3.9), layout="constrained")
    axes = figure.subplots()
    epochs, texts = np.arange(1, len(history) + 1), []
    columns = {"validation": "val_auroc", **{name: f"{EXTERNAL_PREFIX}{name}_auroc" for name in names}}
    for index, (title, column) in enumerate(columns.items()):
        values = np.array([row.get(column, np.nan) for row in history], dtype=float)
        axes.plot(epochs, values, label=literal(title), marker="o" if len(history) < 3 else None, **_style(index))
        texts.append(f"{title} {values[-1]:.3f}")
    axes.set(xlabel="epoch", ylabel="AUROC", xlim=(0.5, len(history) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", frameon=False, borderaxespad=0)
    return figure_svg(figure, f"AUROC by epoch, after the last one {', '.join(texts)}")


def _title(values: Mapping[str, Any], split: str | None = None) -> str:
    """Returns the title of a set: its name, the split if one is given, and its role."""
    transfer = values["transfer"]
    return f"{transfer['name']}{f', {SPLIT_NAMES[split]}' if split else ''} ({transfer['role']})"


def _style(index: int) -> dict[str, Any]:
    """Returns the line of validation for 0, and that of the n-th set for n."""
    colour = SERIES_COLOURS[(index - 1) % len(SERIES_COLOURS)] if index else INK
    return {"color": colour, "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8 if index else 2.0}
