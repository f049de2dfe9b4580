"""The run report: one self-contained HTML page with what a run measured, on what, and how it was trained."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from beam_prep.errors import UsageError
from beam_prep.page import image_uri, render, write_page
from beam_prep.schema import CLASS_NAMES
from trainer import figures
from trainer.figures import SPLIT_NAMES
from trainer.run_folder import HISTORY_COLUMNS, RunFolder

SAMPLES_SHOWN = 5
SAMPLE_PX = 256

METRICS = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "loss": "Loss",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity", "loss")

# Model, test accuracy, test loss. Source: the original study, on the test folder of the Kaggle set, and Kermany et al.,
# Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning, Cell 172, 2018.
STUDY = (
    ("Baseline CNN", "0.87", "0.45"),
    ("VGG19, frozen", "0.81", "0.43"),
    ("VGG19, fine-tuned", "0.928", "0.196"),
    ("InceptionResNetV2, frozen", "0.869", "0.346"),
    ("InceptionResNetV2, fine-tuned", "0.870", "0.340"),
    ("Inception V3, Kermany et al. 2018", "0.928", "–"),
)


@dataclass(frozen=True)
class Sample:
    """An image with its prediction, to be shown.

    Attributes:
        filename: as in the predictions.
        label: 0 NORMAL or 1 PNEUMONIA, the truth.
        probability: of PNEUMONIA, in 0..1.
        split: where it is from; its threshold decides whether the prediction is right.
        pixels: uint8 [H, W].
    """

    filename: str
    label: int
    probability: float
    split: str
    pixels: np.ndarray


class Predictions(NamedTuple):
    """One split's predictions: names [N], int labels [N], float probabilities of PNEUMONIA [N], int classes [N]."""

    filenames: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray


def write_report(run: Path, samples: Sequence[Sample] = ()) -> Path:
    """Writes `report.html` into a finished run; the same files and samples give the same bytes.

    Args:
        run: folder with `config.json`, `model.json` and `metrics.json`; `history.csv` and `predictions-*.csv` are
            shown where they are there.
        samples: images to choose from, test before validation; the first five right and five wrong ones are shown.

    Returns:
        Where the page is.

    Raises:
        UsageError: the folder holds no finished run.
    """
    folder = RunFolder(run)
    config, model, all_metrics = (folder.read_json(name) for name in ("config", "model", "metrics"))
    metrics = {split: all_metrics[split] for split in SPLIT_NAMES if split in all_metrics}
    if not metrics:
        raise UsageError(f"{run / 'metrics.json'}: expected numbers of a split ({', '.join(SPLIT_NAMES)}), found none")
    lead = next(iter(metrics))  # the split that the page is about first of all: test, if there is one
    predictions = {split: found for split in metrics if (found := _read_predictions(run, split)) is not None}
    arrays = {split: (found.labels, found.probabilities) for split, found in predictions.items()}
    history = _read_history(run / "history.csv")
    right, wrong = _choose(samples, metrics)
    html = render(
        "trainer",
        "run.html.j2",
        name=run.resolve().name,
        config={flag: _as_text(value) for flag, value in config.items()},
        model=model,
        kept_loss=_number(model.get("best") or {}, "val_loss", digits=4),
        class_names=CLASS_NAMES,
        split_names=SPLIT_NAMES,
        lead=lead,
        metrics=metrics,
        headline=[_headline(key, metrics, lead) for key in HEADLINE],
        numbers=[(METRICS[key], [_number(values, key) for values in metrics.values()]) for key in METRICS],
        undefined=[
            (METRICS[key], split, values["undefined"][key])
            for split, values in metrics.items()
            for key in METRICS
            if key in values.get("undefined", {})
        ],
        study=STUDY,
        accuracy=_number(metrics.get("test", {}), "accuracy"),
        loss=_number(metrics.get("test", {}), "loss"),
        curves=_learning_curves(history, model.get("best")),
        roc=figures.roc_curve(arrays, metrics),
        precision_recall=figures.precision_recall_curve(arrays, metrics),
        scores=figures.score_histogram(*arrays[lead], metrics[lead]["threshold"]) if lead in arrays else None,
        matrices={split: _matrix(values["confusion_matrix"]) for split, values in metrics.items()},
        samples=(("Right", [_shown(sample) for sample in right]), ("Wrong", [_shown(sample) for sample in wrong])),
        wrong_predictions=_wrong_predictions(predictions) if predictions else None,
    )
    path = folder.report
    write_page(path, html)
    return path


def _read_history(path: Path) -> list[dict[str, Any]]:
    """One entry an epoch; a number that is missing is NaN. Empty without the file."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [name for name in HISTORY_COLUMNS if name not in ("phase", "epoch")]
    return [
        {"phase": row["phase"], "epoch": int(row["epoch"]), **{name: float(row.get(name) or "nan") for name in numbers}}
        for row in rows
    ]


def _read_predictions(run: Path, split: str) -> Predictions | None:
    path = run / f"predictions-{split}.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Predictions(
        [row["filename"] for row in rows],
        np.array([int(row["label"]) for row in rows], dtype=int),
        np.array([float(row["probability"]) for row in rows], dtype=float),
        np.array([int(row["prediction"]) for row in rows], dtype=int),
    )


def _number(values: Mapping[str, Any], key: str, digits: int = 3) -> str | None:
    """A metric as text; None where it is absent or not defined."""
    value = values.get(key)
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else None


def _headline(key: str, metrics: Mapping[str, Any], lead: str) -> dict[str, Any]:
    """One number of the head of the page, with its interval or the reason why there is none."""
    values = metrics[lead]
    interval = values.get("auroc_ci95") if key == "auroc" else None
    return {
        "name": METRICS[key],
        "value": _number(values, key),
        "reason": values.get("undefined", {}).get(key, "not defined"),
        "interval": f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else None,
        "others": [(split, _number(others, key)) for split, others in metrics.items() if split != lead],
    }


def _learning_curves(history: list[dict[str, Any]], best: Mapping[str, Any] | None) -> list[Any]:
    if not history:
        return []
    return [
        figures.learning_curves(history, best, metric="loss", title="loss", strip="learning_rate"),
        figures.learning_curves(history, best, metric="accuracy", title="accuracy", strip="val_auroc"),
    ]


def _matrix(cells: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """Rows are the truth, columns the prediction: count, share of the row and of all images."""
    counts = [[cells["tn"], cells["fp"]], [cells["fn"], cells["tp"]]]
    total = max(sum(map(sum, counts)), 1)
    return [
        [{"count": count, "of_row": count / max(sum(row), 1), "of_all": count / total} for count in row]
        for row in counts
    ]


def _choose(samples: Sequence[Sample], metrics: Mapping[str, Any]) -> tuple[list[Sample], list[Sample]]:
    """The first right and the first wrong samples, those of the leading split before others."""

    def is_right(sample: Sample) -> bool:
        threshold = metrics.get(sample.split, {}).get("threshold", 0.5)
        return (sample.probability >= threshold) == bool(sample.label)

    splits = list(SPLIT_NAMES)
    samples = sorted(samples, key=lambda sample: splits.index(sample.split))
    right = [sample for sample in samples if is_right(sample)]
    wrong = [sample for sample in samples if not is_right(sample)]
    return right[:SAMPLES_SHOWN], wrong[:SAMPLES_SHOWN]


def _shown(sample: Sample) -> dict[str, Any]:
    return {
        "filename": sample.filename,
        "split": sample.split,
        "label": sample.label,
        "probability": f"{sample.probability:.3f}",
        "uri": image_uri(sample.pixels, SAMPLE_PX),
    }


def _wrong_predictions(predictions: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Every wrong prediction, the most wrong first."""
    rows = [
        {
            "split": split,
            "filename": filename,
            "label": int(label),
            "probability": f"{probability:.4f}",
            "error": abs(probability - label),
        }
        for split, found in predictions.items()
        for filename, label, probability, predicted in zip(*found, strict=True)
        if predicted != label
    ]
    return sorted(rows, key=lambda row: (-row["error"], row["split"], row["filename"]))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value)
