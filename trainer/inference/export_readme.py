"""Writes the `README.md` of an export: a model card with the YAML front matter that the Hugging Face Hub reads.

Source: https://huggingface.co/docs/hub/model-cards (front matter) and its `modelcard.md` specification (model-index).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from beam_prep.dataset.schema import BINARY, MULTICLASS
from trainer.run.model_card import ModelCard

README_NAME = "README.md"
DISCLAIMER = "**Research software. It is not a medical device and must not be used for diagnosis.**"
TAGS = {"savedmodel": ("keras", "tensorflow"), "onnx": ("onnx",), "litert": ("tflite",)}
"""The tags of the Hub for each format."""
HUB_METRICS = {
    "auroc": ("roc_auc", "AUROC"),
    "auprc": ("average_precision", "AUPRC"),
    "accuracy": ("accuracy", "Accuracy"),
    "sensitivity": ("recall", "Sensitivity"),
    "specificity": ("specificity", "Specificity"),
    "ece_calibrated": ("expected_calibration_error", "Calibration error (ECE), calibrated"),
}
"""The metrics that are stated: entry of `metrics.json` → type on the Hub, and title."""
RANKED = ("auroc", "auprc")
"""The metrics that do not depend on threshold and temperature."""
FITS = {
    "squash": "stretched to a square",
    "pad": "padded with black to a square",
    "crop": "cropped to a square",
}

LOADING = {
    "savedmodel": """`saved_model/` takes the bytes of JPEG and PNG files and prepares them itself:

```python
import tensorflow as tf

served = tf.saved_model.load("saved_model").signatures["serving_default"]
print(served(image_bytes=tf.constant([open("image.png", "rb").read()])))
```

`model.keras` is the network alone, from prepared images to probabilities that are not calibrated, and not averaged with
those of the mirror image where `model.json` has `"tta": true`: `keras.models.load_model("model.keras")`.""",
    "onnx": """`model.onnx` takes prepared images and has the entries of `model.json` in its metadata:

```python
import json

import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
card = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
names = [output.name for output in session.get_outputs()]
print(dict(zip(names, session.run(None, {"image": images}))))  # images: float32 [N, {size}, {size}, 1]
```""",
    "litert": """`model.tflite` takes prepared images; `model.json` tells how they are prepared:

```python
from ai_edge_litert.interpreter import Interpreter

answer = Interpreter("model.tflite").get_signature_runner("serving_default")
print(answer(image=images))  # images: float32 [N, {size}, {size}, 1]
```""",
}
"""The section of the README on each format, with {size} for the side of the images."""


class Measured(NamedTuple):
    """A metric of the images of a split.

    Attributes:
        kind: the type of the metric on the Hub.
        title: the title of the metric.
        value: the value.
        interval: the bounds of its 95 % interval over patients; None if it has none.
    """

    kind: str
    title: str
    value: float
    interval: Sequence[float] | None


def readme(
    card: ModelCard,
    formats: Sequence[str],
    metrics: Mapping[str, Any],
    *,
    license_name: str | None = None,
    hub_dataset: str | None = None,
) -> str:
    """Returns the README of an export, which holds numbers on all images together and nothing on one of them.

    Args:
        card: the model card of the run.
        formats: the formats of the export, keys of `LOADING`.
        metrics: the content of `metrics.json`; empty if the run has none.
        license_name: the licence of the model, as the Hub names it; None leaves it open.
        hub_dataset: the name of the dataset on the Hub; None if it is not there.
    """
    import yaml

    split = next((name for name in ("test", "val") if _has_images(metrics.get(name))), None)
    measured = list(_measured(metrics[split], card)) if split else []
    name = f"{card.arch}-{card.image_size}px"
    front: dict[str, Any] = {
        **({"license": license_name} if license_name else {}),
        **({"library_name": "keras"} if "savedmodel" in formats else {}),
        "pipeline_tag": "image-classification",
        **({"datasets": [hub_dataset]} if hub_dataset else {}),
        "tags": ["chest-x-ray", "radiology", *(tag for each in formats for tag in TAGS[each]), "cxrflow"],
    }
    if measured:
        front["metrics"] = [each.kind for each in measured]
        title = hub_dataset or f"dataset {card.dataset_fingerprint[:12]}"
        dataset = {"name": title, "type": hub_dataset or "chest-x-ray", "split": split}
        task = {"type": "image-classification", "name": "Image classification"}
        values = [{"type": each.kind, "name": _named(each), "value": round(each.value, 6)} for each in measured]
        front["model-index"] = [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": values}]}]
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {name}",
        DISCLAIMER,
        f"A classifier of frontal chest X-rays, the network `{card.arch}`, trained and exported by cxrflow.",
        "## Intended use",
        "Research and teaching: to study how such a classifier is trained and measured. It must not be used to "
        "diagnose, to rule out disease or to decide on treatment.",
        "## Input and output",
        *_input_and_output(card),
        "## How to load it",
        *(LOADING[each].replace("{size}", str(card.image_size)) for each in formats),
        "## Evaluation",
        *_evaluation(measured, metrics, split),
        "## Limits",
        "The model has learned from the images of one dataset, and may have learned any difference between its "
        "classes. Its numbers may not hold for other patients, machines, hospitals and views. It answers for other "
        "diseases and for pictures that are no chest X-rays too.",
        "## Data and licence",
        f"The dataset has the fingerprint `{card.dataset_fingerprint}`. "
        + (
            f"The licence of the model is `{license_name}`."
            if license_name
            else "No licence was chosen: add `license:` above, one that the licence of the images allows."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(values: Mapping[str, Any], card: ModelCard) -> Iterator[Measured]:
    """Yields the metrics of a split; without those at another threshold or temperature than the exported ones."""
    point = card.operating_point
    is_same = not (point.bias or point.biases) and all(
        values.get(name, value) == value
        for name, value in (("threshold", point.threshold), ("temperature", point.temperature))
    )
    for name, (kind, title) in HUB_METRICS.items():
        if _is_number(values.get(name)) and (is_same or name in RANKED):
            is_mean = card.task != BINARY and name in RANKED
            bounds = values.get(f"{name}_ci95")
            interval = (
                bounds if isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_number, bounds)) else None
            )
            yield Measured(kind, title + ", mean of the classes" * is_mean, float(values[name]), interval)


def _has_images(values: Any) -> bool:
    """Returns True for the results of a split; a run may come from elsewhere and hold anything."""
    return isinstance(values, Mapping) and all(_is_number(values.get(name)) for name in ("num_images", "num_groups"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _named(measured: Measured) -> str:
    if measured.interval is None:
        return measured.title
    low, high = measured.interval
    return f"{measured.title} (95 % interval {low:.3f} to {high:.3f})"


def _input_and_output(card: ModelCard) -> Iterator[str]:
    names = [f"`{name.replace('`', chr(39))}`" for name in card.class_names]
    yield (
        f"A prepared image is grey, {card.image_size} px a side, from 0 (black) to 255: decoded to 8 bit, equalized "
        f"(`{card.equalization}`), {FITS[card.fit or 'squash']} and resized with anti-aliasing, as `beam_prep` does it."
        + " The model uses it and its mirror image: its probability is the mean of both."
        * bool(card.tta)
    )
    if card.task == BINARY:
        yield (
            f"`probability` and `calibrated_probability` are those of {names[1]} (else {names[0]}); `decision` is 1 "
            f"where the probability is {card.operating_point.threshold:g} or more."
        )
        return
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(names))
    decision = (
        "the index of the class with the highest calibrated probability"
        if card.task == MULTICLASS
        else "1 for each finding whose probability reaches its threshold"
    )
    yield f"`probability` and `calibrated_probability` have a column for each of: {listed}. `decision` is {decision}."


def _evaluation(measured: Sequence[Measured], metrics: Mapping[str, Any], split: str | None) -> Iterator[str]:
    if split is None:
        yield "The run was not evaluated."
        return
    values = metrics[split]
    chosen = (
        "" if split == "test" else " Weights and threshold were chosen on these images: the numbers are optimistic."
    )
    images = f"{values['num_images']:,} {split} images of {values['num_groups']:,} patients"
    yield f"Measured on {images}, none of them among the patients of the training as far as patients are known.{chosen}"
    rows = ["| metric | value | 95 % interval over patients |", "|---|---|---|"]
    for each in measured:
        interval = "" if each.interval is None else f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
        rows.append(f"| {each.title} | {each.value:.3f} | {interval} |")
    yield "\n".join(rows)
