"""Reads the operating points that were fitted to samples of other sources, `recalibrations/NAME.json` of a run."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL
from beam_prep.storage.json_schema import Check, Mismatch, entries, list_of, number, one_of, text
from trainer.run.folder import RunFolder
from trainer.run.model_card import TEMPERATURE, THRESHOLD, ModelCard, OperatingPoint

_LINE = text(r"[^\0\n]+", example="vgg19", most=1000)
_BIAS = number(-1e6, 1e6)
_CHECKS: dict[str, dict[str, Check]] = {
    BINARY: {"threshold": THRESHOLD, "threshold_rule": _LINE, "temperature": TEMPERATURE, "bias": _BIAS},
    MULTICLASS: {"task": one_of(MULTICLASS), "temperature": TEMPERATURE, "biases": list_of(_BIAS, most=1000)},
    MULTILABEL: {
        "task": one_of(MULTILABEL),
        "threshold_rule": _LINE,
        "thresholds": list_of(THRESHOLD, most=1000),
        "temperatures": list_of(TEMPERATURE, most=1000),
        "biases": list_of(_BIAS, most=1000),
    },
}
"""The checks of the entries that hold the operating point, by task."""


def recalibrated(card: ModelCard, run: RunFolder, name: str | None) -> ModelCard:
    """Returns the model card of a run with the operating point of a recalibration; None keeps that of the run.

    Raises:
        UsageError: the run has no recalibration of this name, or its file is not one of this run.
    """
    if name is None:
        return card
    known = run.recalibrations()
    if name not in known:
        raise UsageError(
            f"--recalibration {name}: {run} has {', '.join(known) or 'none'}; make one with: "
            f"cxrflow recalibrate --run {quote(str(run))} --data SAMPLE"
        )
    known_images = {"source_ids": list_of(_LINE, most=10**7)}
    check = entries({**_CHECKS[card.task], **known_images}, {"groups": list_of(_LINE, most=10**7)}, others=True)
    try:
        check(known[name], "")
    except Mismatch as error:
        raise UsageError(f"--recalibration {name}: {run}: {error}; recalibrate again") from None
    point = OperatingPoint.of(known[name])
    lengths = {len(values) for values in (point.thresholds, point.temperatures, point.biases) if values}
    if lengths - {len(card.class_names)}:
        raise UsageError(
            f"--recalibration {name}: {run}: expected numbers of {len(card.class_names)} classes or findings, found "
            f"{', '.join(map(str, sorted(lengths)))}; recalibrate again"
        )
    return replace(card, operating_point=point)
