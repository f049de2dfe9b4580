"""Writes the page that compares runs on the same images: numbers, differences to the first run, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.console.command_line import recorded_flags, shown_command
from beam_prep.dataset.schema import BINARY
from beam_prep.pages.origin import Origin, link_to_report, today
from beam_prep.pages.page import INK, MUTED, RULE, figure_svg, literal, render, write_page
from beam_prep.storage.output_folder import translate_errors
from beam_prep.storage.paths import AnyPath, is_local
from trainer.config.commands import CompareConfig
from trainer.evaluation.calibration import calibrate, expected_calibration_error, reliability
from trainer.evaluation.predictions import Predictions
from trainer.report.curves import SPLIT_NAMES, column, series_style
from trainer.report.published_results import STUDY, is_kaggle_test
from trainer.run.folder import read_history
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.statistics.differences import Difference

if TYPE_CHECKING:
    from markupsafe import Markup

COLUMNS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "loss": "Loss",
    "brier": "Brier score",
    "ece": "ECE",
}


@dataclass(frozen=True)
class Compared:
    """A run in a comparison, and its results on one split.

    Attributes:
        path: folder of the run on this machine.
        name: name of the folder, or the whole path where two folders have one name.
        card: the model card of the run.
        numbers: the entry of the split in `metrics.json`.
        predictions: the predictions of the split.
        same_images: True if the run was evaluated on the images of the first run, prepared in the same dataset.
        difference: to the first run; None for the first run, and if the images are other ones or of one class.
        place: the folder as the user names it.
        adjusted_p: the p value of the difference, corrected for the number of runs that are compared; None without one.
    """

    path: Path
    name: str
    card: ModelCard
    numbers: dict[str, Any]
    predictions: Predictions
    same_images: bool = True
    difference: Difference | None = None
    place: str = ""
    adjusted_p: float | None = None

    @property
    def has_selected(self) -> bool:
        """True if the images are a set of another source that has selected something of the run."""
        return bool(self.numbers.get("transfer", {}).get("role") == "development")


def write_comparison(runs: Sequence[Compared], split: str, path: AnyPath) -> AnyPath:
    """Writes the page of a comparison; the same runs give the same bytes on the same day.

    Raises:
        UsageError: the file can't be written.
    """
    measured = [(run.name, run.predictions, run.numbers) for run in runs]
    html = render(
        "trainer.report",
        "compare.html.j2",
        origin=_origin(runs, split, path),
        runs=runs,
        split=split,
        split_name=SPLIT_NAMES.get(split, split),
        columns={key: title for key, title in COLUMNS.items() if any(key in run.numbers for run in runs)},
        study=STUDY if all(is_kaggle_test(run.card.class_names, run.predictions, split) for run in runs) else (),
        class_names=[
            name for name in runs[0].card.class_names if all(name in run.numbers.get("classes", {}) for run in runs)
        ],
        num_differences=sum(run.difference is not None for run in runs),
        separation=_separation(measured),
        calibration=_calibration(measured),
        differences=_differences([(run.name, run.difference) for run in runs if run.difference]),
        curves=_learning_curves([(run.name, read_history(run.path)) for run in runs]),
    )
    with translate_errors(path):
        write_page(path, html)
    return path


def _origin(runs: Sequence[Compared], split: str, path: AnyPath) -> Origin:
    """Returns the origin of a comparison: the command, and the pages of the runs."""
    flags = {"split": split, "output": str(path), "allow_different": not all(run.same_images for run in runs)}
    places = [run.place or str(run.path) for run in runs]
    command = shown_command("compare", *places, *recorded_flags(CompareConfig, flags))
    folder = path.parent if is_local(path) else path  # from a bucket nothing is linked
    links = [link_to_report("Runs", run.place or str(run.path), folder, home=str(path), text=run.name) for run in runs]
    return Origin("made", today(), command=command, links=tuple(links))


def _learning_curves(runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[Markup]:
    """Draws the validation loss and the validation AUROC by epoch, with a line for each run.

    Args:
        runs: name and history of each run, see `trainer.run.folder.read_history`; runs without a history are left out.

    Returns:
        Two figures; none if no run has a history.
    """
    drawn = [run for run in runs if run[1]]
    titles = {"val_loss": "validation loss", "val_auroc": "validation AUROC"}
    return [_learning_curve(drawn, name, title) for name, title in titles.items()] if drawn else []


def _learning_curve(runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], metric: str, title: str) -> Markup:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.6, 3.9), layout="constrained")
    axes = figure.subplots()
    texts = []
    for index, (name, history) in enumerate(runs):
        values = column(history, metric)
        epochs = np.arange(1, len(values) + 1)
        few = "o" if len(values) < 3 else None
        axes.plot(epochs, values, label=literal(name), marker=few, **series_style(index))
        begins = [i for i in range(1, len(history)) if history[i]["phase"] != history[i - 1]["phase"]]
        colour = series_style(index)["color"]
        axes.plot(epochs[begins], values[begins], "o", markerfacecolor="none", markeredgecolor=colour, markersize=9)
        texts.append(f"{name} {values[-1]:.3f} after {len(values)} epochs")
    axes.set(xlabel="epoch", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure_svg(figure, f"{title} by epoch: {'; '.join(texts)}")


def _separation(runs: Sequence[tuple[str, Predictions, Mapping[str, Any]]]) -> list[Markup]:
    """Draws the ROC and the precision-recall curves of several runs, each with a dot at the threshold of the run.

    Args:
        runs: for each run its name, its predictions, and the entry of the split in its `metrics.json`.

    Returns:
        Two figures; none if no run was evaluated on images of two classes.
    """
    from sklearn import metrics as sk

    roc, precision_recall = [], []
    for name, predictions, numbers in runs:
        if predictions.task != BINARY or numbers.get("auroc") is None:
            continue
        false_positive_rate, sensitivity, _ = sk.roc_curve(predictions.labels, predictions.probabilities)
        point = (1 - numbers["specificity"], numbers["sensitivity"])
        roc.append((f"{name}, AUROC {numbers['auroc']:.3f}", (false_positive_rate, sensitivity), point))
        precision, recall, _ = sk.precision_recall_curve(predictions.labels, predictions.probabilities)
        place = (numbers["sensitivity"], numbers["ppv"]) if numbers.get("ppv") is not None else None
        precision_recall.append((f"{name}, AUPRC {numbers['auprc']:.3f}", (recall, precision), place))
    if not roc:
        return []
    return [
        _lines(roc, "1 − specificity", "sensitivity", "ROC curves", has_diagonal=True),
        _lines(precision_recall, "recall", "precision", "Precision-recall curves"),
    ]


def _calibration(runs: Sequence[tuple[str, Predictions, Mapping[str, Any]]]) -> Markup | None:
    """Draws the share of positive images by calibrated probability, with a line for each run of two classes.

    Args:
        runs: as of `_separation`.

    Returns:
        The figure; None if no run has two classes.
    """
    lines = []
    for name, predictions, numbers in runs:
        if predictions.task == BINARY:
            scores = calibrate(predictions.probabilities, OperatingPoint.of(numbers))
            mean, share, _ = reliability(predictions.labels, scores)
            error, filled = expected_calibration_error(predictions.labels, scores), np.isfinite(share)
            lines.append((f"{name}, ECE {error:.3f}", (mean[filled], share[filled]), None))
    titles = ("calibrated probability", "share that is positive", "Reliability diagrams")
    return _lines(lines, *titles, has_diagonal=True, marker="o") if lines else None


def _lines(
    lines: Sequence[tuple[str, tuple[np.ndarray, np.ndarray], tuple[float, float] | None]],
    x_label: str,
    y_label: str,
    title: str,
    *,
    has_diagonal: bool = False,
    marker: str | None = None,
) -> Markup:
    """Draws a line of each run between 0 and 1: its text, its coordinates, and a point on it that gets a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.8, 3.4 + 0.2 * len(lines)), layout="constrained")
    axes = figure.subplots()
    if has_diagonal:
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    for index, (text, (x, y), point) in enumerate(lines):
        axes.plot(x, y, label=literal(text), marker=marker, markersize=4, **series_style(index))
        if point:
            axes.plot(*point, "o", color=series_style(index)["color"], markersize=6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x_label, ylabel=y_label)
    axes.grid(color=RULE, linewidth=0.8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", frameon=False, borderaxespad=0)
    return figure_svg(figure, f"{title}: {'; '.join(text for text, _, _ in lines)}")


def _differences(differences: Sequence[tuple[str, Difference]]) -> Markup | None:
    """Draws the difference of the AUROC of each run to the first one, with its 95 % interval.

    Args:
        differences: the name of each run but the first, and its difference.

    Returns:
        The figure; None without a difference.
    """
    from matplotlib.figure import Figure

    if not differences:
        return None
    figure = Figure(figsize=(4.6, 0.9 + 0.32 * len(differences)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, linewidth=1)
    texts = []
    for place, (name, each) in enumerate(differences):
        axes.plot(each.ci95, [place, place], color=INK, linewidth=1.8)
        axes.plot(each.value, place, "o", color=INK, markersize=6)
        texts.append(f"{name} {each.value:+.3f} ({each.ci95[0]:+.3f} to {each.ci95[1]:+.3f})")
    axes.set_yticks(range(len(differences)), [literal(name) for name, _ in differences])
    axes.set(ylim=(len(differences) - 0.5, -0.5), xlabel="difference of the AUROC")
    axes.margins(x=0.1)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    return figure_svg(figure, f"Differences of the AUROC to the first run: {'; '.join(texts)}")
