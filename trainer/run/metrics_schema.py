"""Checks the numbers of a run, which may come from a stranger: the type of all that pages and tables show.

Standard library only.
"""

from __future__ import annotations

from typing import Any

from beam_prep.storage.json_schema import (
    Check,
    any_number,
    anything,
    entries,
    list_of,
    mapping_of,
    nullable,
    number,
    one_of,
    or_scalars,
    scalar,
    text,
    whole,
)

_MEASURES = (
    *("auroc", "auprc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "loss", "brier", "ece"),
    *("loss_calibrated", "brier_calibrated", "ece_calibrated"),
    *("sensitivity_at_specificity_90", "specificity_at_sensitivity_90"),
)
_NUMBER = nullable(any_number)
_NUMBERS = mapping_of(_NUMBER)
_TEXT = text(most=1000)
_INTERVAL = nullable(list_of(_NUMBER, least=2, most=2))
PHASE = entries(
    {"name": _TEXT, "num_parameters": whole(), "num_trainable": whole(), "epochs": whole(), "seconds": number(0)},
    others=True,
)
"""The check of a phase in `model.json`."""
BEST_EPOCH = entries({"phase": _TEXT, "epoch": whole()}, {"val_loss": nullable(number())}, others=True)
"""The check of the best epoch in `model.json`."""
_NAME = text(r"[\w.-]{1,200}", example="val")


def _report(value: Any, place: str) -> None:
    """Checks an entry of scikit-learn's report: a number, or numbers by name."""
    (_NUMBERS if isinstance(value, dict) else any_number)(value, place)


def _confusion(value: Any, place: str) -> None:
    """Checks a confusion matrix: counts by name for two classes, else rows."""
    (mapping_of(whole()) if isinstance(value, dict) else list_of(list_of(whole())))(value, place)


def _with(more: dict[str, Check]) -> Check:
    """Returns the check of the numbers of some images; entries that no page shows may be anything."""
    intervals = {f"{name}_ci95": _INTERVAL for name in _MEASURES}
    return entries({}, {**dict.fromkeys(_MEASURES, _NUMBER), **intervals, **more}, others=True)


_PART = _with({"num_images": whole(), "num_groups": whole()})
_CLASS = _with({"patients": nullable(_PART)})
_SCORES = entries(
    {"num_images": whole()},
    {"quartiles": nullable(list_of(any_number, least=3, most=3)), "called_pneumonia": _NUMBER},
    others=True,
)
_CALIBRATION = entries({"mean_probability": any_number, "prevalence": any_number}, others=True)
_THRESHOLD = entries(
    {"threshold": any_number, "rule": _TEXT, "sensitivity": any_number, "specificity": any_number}, others=True
)
_COMPARED: dict[str, Check] = {
    "name": _TEXT,
    "role": one_of("external", "development"),
    "headline": text(most=10_000),
    "auroc_gap": _NUMBER,
    "auroc_gap_ci95": _INTERVAL,
}
_OF_TWO_CLASSES: dict[str, Check] = {
    "scores": mapping_of(entries({"external": _SCORES, "shift": _NUMBER}, {"val": _SCORES})),
    "calibration": entries({"external": _CALIBRATION}, {"val": _CALIBRATION}),
    "threshold_there": nullable(_THRESHOLD),
}
_OF_CLASSES: dict[str, Check] = {
    "classes": mapping_of(entries({"auroc_gap": _NUMBER, "auroc_gap_ci95": _INTERVAL})),
}
_VALIDATION = {"validation": _with({"num_images": whole(), "classes": mapping_of(_CLASS), "macro": nullable(_PART)})}


def _transfer(value: Any, place: str) -> None:
    """Checks the comparison of a set of another source with validation, of two classes or of more."""
    more = _OF_CLASSES if isinstance(value, dict) and "classes" in value else _OF_TWO_CLASSES
    entries({**_COMPARED, **more}, _VALIDATION, others=True)(value, place)


_SPLIT = _with(
    {
        "num_images": whole(),
        "num_groups": whole(),
        **dict.fromkeys(("threshold", "temperature", "bias", "prevalence"), _NUMBER),
        **dict.fromkeys(("threshold_rule", "task", "recalibration"), nullable(_TEXT)),
        **dict.fromkeys(("thresholds", "temperatures", "biases"), list_of(any_number)),
        "classification_report": mapping_of(_report),
        "confusion_matrix": _confusion,
        "undefined": mapping_of(text()),
        "classes": mapping_of(_CLASS),
        "patients": nullable(_PART),
        "macro": nullable(_PART),
        "weighted": nullable(_PART),
        "subgroups": mapping_of(mapping_of(_PART)),
        "transfer": _transfer,
        "robustness": list_of(mapping_of(or_scalars(scalar))),
    }
)
_SPEED = mapping_of(scalar)


def check_metrics(value: Any, place: str) -> None:
    """Checks the content of `metrics.json`: the numbers by split, those of other sources by name, and the speed."""
    mapping_of(anything)(value, place)
    for name, content in value.items():
        _NAME(name, "a name")
        if name == "speed":
            _SPEED(content, name)
        else:
            (mapping_of(_SPLIT) if name == "external" else _SPLIT)(content, name)
