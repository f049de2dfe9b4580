"""Writes `report.html` of a run: one self-contained page with its results, its data and its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY, MULTILABEL
from beam_prep.pages.origin import Link, Origin, day_named, link_to, link_to_report
from beam_prep.pages.page import render, write_page
from trainer.evaluation import subgroups
from trainer.evaluation.predictions import Predictions, read_predictions
from trainer.evaluation.subgroups import Subgroup
from trainer.report import curves, figures
from trainer.report.class_page import class_sections
from trainer.report.curves import SPLIT_NAMES
from trainer.report.formats import format_interval, format_number, speed_facts
from trainer.report.heat_overlay import colour_scale
from trainer.report.published_results import STUDY, Published, has_kaggle_names, is_kaggle_test
from trainer.report.samples import Sample, shown
from trainer.report.transfer_section import auroc_by_epoch, transfer_section
from trainer.run.console_lines import remarks
from trainer.run.flags import command_of, flags_that_differ
from trainer.run.folder import RunFolder, read_history
from trainer.run.metric_titles import METRIC_TITLES
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.statistics.bootstrap import curve_bands

TRAIT_METRICS = ("auroc", "sensitivity", "specificity")
TRAIT_METRICS_OF_CLASSES = ("auroc", "accuracy")
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity", "loss")
HEADLINE_OF_CLASSES = {
    "auroc": "AUROC, mean of classes",
    "auprc": "AUPRC, mean of classes",
    "accuracy": "Accuracy",
    "loss": "Loss",
}


def write_report(run: Path, samples: Sequence[Sample] = ()) -> Path:
    """Writes `report.html` into a finished run; the same files and samples give the same bytes.

    Args:
        run: folder with `config.json`, `model.json` and `metrics.json`, and with `history.csv` and
            `predictions-SPLIT.csv` if they are to be shown.
        samples: images to choose from, see `samples.shown`.

    Returns:
        The path of the page.

    Raises:
        UsageError: the folder holds no finished run.
    """
    folder = RunFolder(run)
    config, card, all_metrics = folder.read_json("config"), ModelCard.read(folder), folder.read_json("metrics")
    metrics = {split: all_metrics[split] for split in SPLIT_NAMES if split in all_metrics}
    if not metrics:
        raise UsageError(f"{run / 'metrics.json'}: expected numbers of a split ({', '.join(SPLIT_NAMES)}), found none")
    lead = next(iter(metrics))  # the split of the headline and of most figures: test, if the run has results on test
    read = {split: read_predictions(run, split, card.class_names) for split in metrics}
    predictions = {split: of_split for split, of_split in read.items() if of_split is not None}
    history = read_history(run)
    is_binary = card.task == BINARY
    trait_metrics = TRAIT_METRICS if is_binary else TRAIT_METRICS_OF_CLASSES[: 1 + ("accuracy" in metrics[lead])]
    differing, others = flags_that_differ(config, card)
    titles = {key: METRIC_TITLES[key] for key in HEADLINE} if is_binary else HEADLINE_OF_CLASSES
    html = render(
        "trainer.report",
        "run.html.j2",
        origin=_origin(run, config, card),
        name=_name(run, metrics[lead]),
        differing_flags=differing,
        other_flags=others,
        remarks=list(remarks(all_metrics)),
        training_s=sum(phase.get("seconds", 0) for phase in card.phases),
        card=card,
        members=card.members or (),
        kept_loss=format_number(card.best or {}, "val_loss", digits=4),
        kept_for=_kept_for(card),
        class_names=list(card.class_names),
        is_binary=is_binary,
        split_names=SPLIT_NAMES,
        lead=lead,
        metrics=metrics,
        trait_counts=list(card.class_names) if is_binary else ["Images"],
        trait_titles=[METRIC_TITLES[key] for key in trait_metrics],
        headline=[_headline(key, title, metrics, lead) for key, title in titles.items() if key in metrics[lead]],
        images_per_s=all_metrics.get("speed", {}).get("images_per_s"),
        speed=speed_facts(all_metrics.get("speed", {})),
        curves=_learning_curves(history, card),
        transfer=transfer_section(run, all_metrics, metrics, predictions, history, card),
        traits={
            (split, trait): [
                _trait_row(value, of_value, trait_metrics, is_binary=is_binary) for value, of_value in groups.items()
            ]
            for split, values in metrics.items()
            for trait, groups in values.get("subgroups", {}).items()
        },
        robustness={
            split: (values["robustness"], figures.robustness(values["robustness"], values["auroc"]))
            for split, values in metrics.items()
            if "robustness" in values
        },
        samples=shown(samples, metrics, card.class_names),
        colour_scale=colour_scale(),
        kaggle_names=bool(predictions) and has_kaggle_names(next(iter(predictions.values()))),
        is_studied=is_kaggle_test(card.class_names, predictions.get("test"), "test"),
        **(_two_class_sections if is_binary else class_sections)(predictions, metrics, lead),
    )
    write_page(folder.report, html)
    return folder.report


def _name(run: Path, numbers: Mapping[str, Any]) -> str:
    """Returns the title of the page: the name of the run, and for an evaluation below it the set and recalibration."""
    name = run.resolve().name
    if run.parent.name != "evaluations":
        return name
    on = f" on {numbers['transfer']['name']}" if "transfer" in numbers else ""
    by = f", recalibrated by {numbers['recalibration']}" if "recalibration" in numbers else ""
    return f"{run.resolve().parent.parent.name}{on}{by}" if on or by else name


def _origin(run: Path, config: Mapping[str, Any], card: ModelCard) -> Origin:
    """Returns the origin of a run: its training, and the pages of its dataset, its sweep and its members."""
    links, home = [], str(config.get("output", ""))
    if run.parent.name == "evaluations":
        links.append(link_to("Run", run.parent.parent.name, RunFolder(run.parent.parent).report, run))
    if data := str(config.get("data", "")):
        links.append(link_to_report("Dataset", data, run, home=home))
    sweep = run.parent.parent
    if (sweep / "sweep.json").is_file():
        links.append(Link("Sweep", sweep.resolve().name, "../../report.html"))
    for member in card.members or ():
        links.append(link_to_report("Members", member["run"], run, home=home, text=Path(member["run"]).name))
    event = "trained" if card.members is None else "evaluated"
    return Origin(event, day_named(card.date), None, command_of(config), tuple(links))


def _two_class_sections(
    predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], lead: str
) -> dict[str, Any]:
    """Returns what the templates of the sections about two classes need; the arguments are as in `class_sections`."""
    patients = {split: each["patients"] for split, each in metrics.items() if "patients" in each}
    return {
        "numbers": _numbers(metrics),
        "patients": patients,
        "patient_numbers": _numbers(patients),
        "undefined": [
            (METRIC_TITLES[key], split, values["undefined"][key])
            for split, values in metrics.items()
            for key in METRIC_TITLES
            if key in values.get("undefined", {})
        ],
        "study": STUDY,
        "ours": {key: format_number(metrics.get("test", {}), key) for key in Published._fields},
        "our_intervals": {key: format_interval(metrics.get("test", {}), key) for key in Published._fields},
        **_figures(predictions, metrics, lead),
        "matrices": {split: _matrix(values["confusion_matrix"]) for split, values in metrics.items()},
        "subtypes": _subgroups(subgroups.subtypes, predictions, metrics),
        "sizes": _subgroups(subgroups.sizes, predictions, metrics),
        "wrong_predictions": _wrong_predictions(predictions, metrics) if predictions else None,
    }


def _figures(predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], lead: str) -> dict[str, Any]:
    """Draws the figures about the separation of the classes; None for a figure without data."""
    both = next((each for each in predictions.values() if len(np.unique(each.labels)) == 2), None)
    bands = curve_bands(both.labels, both.probabilities, both.groups, curves.BAND_GRID) if both else {}
    leading = predictions.get(lead)
    numbers = metrics[lead]
    return {
        "roc": curves.roc_curve(predictions, metrics, bands.get("roc")),
        "precision_recall": curves.precision_recall_curve(predictions, metrics, bands.get("precision_recall")),
        "scores": leading and figures.score_histogram(leading, numbers["threshold"]),
        "reliability": leading and figures.reliability_diagram(leading, OperatingPoint.of(numbers)),
    }


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[str | None, str | None]]]]:
    """Returns the rows of the table of all numbers: the name of a metric, and its value and interval by split."""
    present = [key for key in METRIC_TITLES if any(key in values for values in metrics.values())]
    return [
        (
            METRIC_TITLES[key],
            [(format_number(values, key), format_interval(values, key)) for values in metrics.values()],
        )
        for key in present
    ]


def _kept_for(card: ModelCard) -> str:
    """Returns what the kept epoch was the best by, in words; an empty text for the validation loss."""
    if card.development:
        return f"the best AUROC on {', '.join(card.development)}, a development set"
    titles = {"val_auroc": "validation AUROC", "val_accuracy": "validation accuracy at a threshold of 0.5"}
    return next((f"the best {title}" for column, title in titles.items() if column in (card.best or {})), "")


def _headline(key: str, title: str, metrics: Mapping[str, Any], lead: str) -> dict[str, Any]:
    """Returns a metric for the head of the page, with its interval or the reason why it is not defined."""
    values = metrics[lead]
    return {
        "name": title,
        "value": format_number(values, key),
        "reason": values.get("undefined", {}).get(key, "not defined"),
        "interval": format_interval(values, key),
        "others": [(split, format_number(others, key)) for split, others in metrics.items() if split != lead],
    }


def _learning_curves(history: list[dict[str, Any]], card: ModelCard) -> list[Any]:
    if not history:
        return []
    loss = curves.learning_curves(history, card.best, metric="loss", title="loss", strip="learning_rate")
    if card.task == MULTILABEL:
        return [loss, auroc_by_epoch(history, ())]
    return [loss, curves.learning_curves(history, card.best, metric="accuracy", title="accuracy", strip="val_auroc")]


def _matrix(cells: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """Returns the cells of the confusion matrix by true and predicted class: count, share of the row and of all."""
    counts = [[cells["tn"], cells["fp"]], [cells["fn"], cells["tp"]]]
    total = max(sum(map(sum, counts)), 1)
    return [
        [{"count": count, "of_row": count / max(sum(row), 1), "of_all": count / total} for count in row]
        for row in counts
    ]


def _subgroups(
    measure: Callable[[Predictions, float], list[Subgroup]],
    predictions: Mapping[str, Predictions],
    metrics: Mapping[str, Any],
) -> dict[str, list[Subgroup]]:
    """Returns the subgroups of each split that has any."""
    by_split = {split: measure(each, metrics[split]["threshold"]) for split, each in predictions.items()}
    return {split: groups for split, groups in by_split.items() if groups}


def _trait_row(value: str, numbers: Mapping[str, Any], keys: Sequence[str], *, is_binary: bool) -> dict[str, Any]:
    """Returns a row of the tables by domain, age, sex and view; a number that is not defined has its reason."""
    cells = [
        (format_number(numbers, key), format_interval(numbers, key), numbers["undefined"].get(key, "not defined"))
        for key in keys
    ]
    counts = list(numbers["class_counts"].values()) if is_binary else [numbers["num_images"]]
    return {"value": value, "counts": counts, "num_groups": numbers["num_groups"], "cells": cells}


def _wrong_predictions(predictions: Mapping[str, Predictions], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for every wrong prediction, the largest error first."""
    rows = [
        {
            "split": split,
            "filename": filename,
            "label": int(label),
            "subtype": subgroups.subtype_of(filename, int(label), each.class_names),
            "probability": f"{probability:.4f}",
            "error": abs(probability - label),
        }
        for split, each in predictions.items()
        for filename, label, probability, predicted in zip(
            each.filenames, each.labels, each.probabilities, each.classes(metrics[split]["threshold"]), strict=True
        )
        if predicted != label
    ]
    return sorted(rows, key=lambda row: (-row["error"], row["split"], row["filename"]))
