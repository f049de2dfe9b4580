"""Words what a training says on the console: its header, a line for each epoch, and remarks on its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from beam_prep.console.escapes import printable
from trainer.config.threshold_rule import parse_rule
from trainer.run.model_card import TEMPERATURES
from trainer.run.speed import splits_of

WIDTH = 80
"""The number of columns of the line of an epoch."""
AT_BOUND = 1.01
"""The factor within which a temperature counts as being at a bound of its range."""


def header(
    *,
    device: str,
    precision: str,
    is_compiled: bool,
    num_replicas: int,
    arch: str,
    num_parameters: int,
    image_px: int,
    batch_size: int,
    num_images: Mapping[str, int],
    output: str,
) -> list[str]:
    """Returns the lines that a training says before its first epoch; `num_images` has the images of each split."""
    replicas = f", {num_replicas} replicas" if num_replicas > 1 else ""
    images = ", ".join(f"{count:,} {split}" for split, count in num_images.items() if count)
    return [
        f"device:    {device}, {precision}{', compiled by XLA' if is_compiled else ''}{replicas}",
        f"network:   {arch}, {num_parameters:,} parameters, {image_px} px, {batch_size} images a step",
        f"images:    {images}",
        f"output:    {output}",
    ]


def epoch_line(epoch: str, logs: Mapping[str, float | None], seconds: float, rate: str) -> str:
    """Returns the line of an epoch, which fits the console; the AUROC on validation and the rate come before others.

    Args:
        epoch: the phase and the number of the epoch.
        logs: the numbers of the epoch, as `history.csv` has them.
        seconds: the time of the epoch, s.
        rate: the images a second in words; empty if no step was timed.
    """
    first, last = [epoch, f"{seconds:.0f} s"], [rate] if rate else []
    wanted = ["val_auroc", "loss", "val_loss", *(name for name in logs if name.endswith("_auroc")), *logs]
    shown: list[str] = []
    for name in dict.fromkeys(wanted):
        if logs.get(name) is not None and len("  ".join([*first, *shown, _number(name, logs), *last])) <= WIDTH:
            shown.append(_number(name, logs))
    in_order = sorted(shown, key=lambda text: list(logs).index(text.partition(" ")[0]))
    return "  ".join([*first, *in_order, *last])


def remarks(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence on each number of `metrics.json` that a user would not expect of a sound model."""
    low, high = TEMPERATURES
    for split, values in splits_of(numbers).items():
        cells = values.get("confusion_matrix", {})
        if isinstance(cells, Mapping) and {"tn", "fp", "fn", "tp"} <= cells.keys():
            yield from _on_calls(split, cells)
        elif cells:
            for place, name in enumerate(values["classes"]):
                if sum(cells[place]) and not any(row[place] for row in cells):
                    yield f"{split}: class {printable(name)} is never predicted, of {sum(cells[place])} images"
        if "thresholds" in values:
            yield from _on_findings(split, values["classes"], values["threshold_rule"])
        auroc = values.get("auroc")
        if auroc is not None and auroc < 0.5:
            yield f"{split}: AUROC {auroc:.3f} is worse than chance, 0.5; are the labels right?"
        temperature = values.get("temperature")
        if temperature is not None and not low * AT_BOUND < temperature < high / AT_BOUND:
            yield f"{split}: temperature {temperature:g} is at its bound; the probabilities are not calibrated"


def _on_calls(split: str, cells: Mapping[str, int]) -> Iterator[str]:
    """Yields a sentence if all images of both classes are called one class, or all of a class are called wrong."""
    positive, negative = cells["tp"] + cells["fn"], cells["tn"] + cells["fp"]
    if not positive or not negative:
        return
    advice = "another --threshold_rule, such as youden, or more --epochs may help"
    if not cells["tp"] + cells["fp"]:
        yield f"{split}: no image is called positive, sensitivity 0; {advice}"
    elif not cells["tn"] + cells["fn"]:
        yield f"{split}: every image is called positive, specificity 0; {advice}"
    elif not cells["tp"]:
        yield f"{split}: no positive image is called positive, sensitivity 0; {advice}"
    elif not cells["tn"]:
        yield f"{split}: no negative image is called negative, specificity 0; {advice}"


def _on_findings(split: str, classes: Mapping[str, Mapping[str, Any]], rule: str) -> Iterator[str]:
    """Yields a sentence on the findings that are present in some images, and called in none."""
    cells = {name: values.get("confusion_matrix") for name, values in classes.items()}
    never = [name for name, each in cells.items() if each and each["fn"] and not each["tp"] + each["fp"]]
    if never:
        advice = "; --threshold_rule youden finds lower ones" if parse_rule(rule).kind == "fixed" else ""
        yield f"{split}: never called at their thresholds: {', '.join(map(printable, never))}{advice}"


def _number(name: str, logs: Mapping[str, float | None]) -> str:
    return f"{name} {logs[name]:.3f}"
