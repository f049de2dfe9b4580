"""Chooses the images of a split that the run page shows, reads them from the records and draws their heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.pages.page import image_uri
from trainer.report.curves import SPLIT_NAMES

if TYPE_CHECKING:
    import keras

    from trainer.data.splits import SplitSource
    from trainer.evaluation.evaluate import Evaluation

SHOWN_BY_CLASS = 3
SHOWN_UNCERTAIN = 6
SAMPLE_PX = 256


@dataclass(frozen=True)
class Sample:
    """An image with its prediction, to be shown on a page.

    Attributes:
        filename: the name of the image file, as in the predictions.
        label: the true class, 0 NORMAL or 1 PNEUMONIA.
        probability: of PNEUMONIA, in 0..1.
        split: the split of the image; the threshold of this split decides whether the prediction is right.
        pixels: uint8 [H, W].
        overlay: the image under its heat map, RGB, uint8 [H, W, 3]; None without a heat map.
    """

    filename: str
    label: int
    probability: float
    split: str
    pixels: np.ndarray
    overlay: np.ndarray | None = None


def choose(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, list[int]]:
    """Chooses the images to show: the predictions that are right or wrong and most certain, and the least certain ones.

    Args:
        labels: int [N].
        probabilities: float [N], of PNEUMONIA.
        threshold: the probability at or above which an image is called PNEUMONIA.

    Returns:
        Indices of images. `right` and `wrong` hold the most certain predictions of each class, the most certain first;
        `uncertain` holds those nearest to the threshold, the nearest first. An image can be in two of the lists.
    """
    distance = np.abs(probabilities - threshold)
    sure, unsure = np.argsort(-distance, kind="stable"), np.argsort(distance, kind="stable")
    right = (probabilities >= threshold) == (labels == 1)

    def surest(wanted: np.ndarray) -> list[int]:
        by_class = [sure[(wanted & (labels == label))[sure]][:SHOWN_BY_CLASS] for label in (0, 1)]
        return np.concatenate(by_class).tolist()

    return {"right": surest(right), "wrong": surest(~right), "uncertain": unsure[:SHOWN_UNCERTAIN].tolist()}


def read_samples(
    evaluations: Sequence[Evaluation],
    sources: Mapping[str, SplitSource],
    model: keras.Model | None = None,
    *,
    shows_pictures: bool,
) -> list[Sample]:
    """Reads the images to show from the records: those of one split, of test before validation before training.

    Args:
        evaluations: results of one or more splits.
        sources: records by split.
        model: the model that made the predictions, to draw heat maps with; None draws none.
        shows_pictures: see `Manifest.shows_pictures`; no image is read if it is False.
    """
    from trainer.data.tf_dataset import evaluation_batches
    from trainer.evaluation.evaluate import BATCH_SIZE

    if not evaluations or not shows_pictures:
        return []
    evaluation = min(evaluations, key=lambda each: list(SPLIT_NAMES).index(each.split))
    predictions = evaluation.predictions
    chosen = choose(predictions.labels, predictions.probabilities, evaluation.numbers["threshold"])
    wanted = {index for indices in chosen.values() for index in indices}
    samples: list[Sample] = []
    start = 0
    for batch in evaluation_batches(sources[evaluation.split], batch_size=BATCH_SIZE):
        end = start + int(batch["images"].shape[0])
        for index in sorted(wanted.intersection(range(start, end))):
            samples.append(
                Sample(
                    filename=predictions.filenames[index],
                    label=int(predictions.labels[index]),
                    probability=float(predictions.probabilities[index]),
                    split=evaluation.split,
                    pixels=batch["images"][index - start, :, :, 0].numpy(),
                )
            )
        start = end
        if start > max(wanted):
            break
    return samples if model is None else _with_heat_maps(samples, model)


def shown(samples: Sequence[Sample], metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Returns the samples of the first split that has any, as the template of the page needs them; see `choose`.

    Args:
        samples: of any splits.
        metrics: the content of `metrics.json`, by split, the split that the page is about first.

    Returns:
        Figures by kind: `right`, `wrong` and `uncertain`.
    """
    split = next((name for name in metrics if any(sample.split == name for sample in samples)), None)
    of_split = [sample for sample in samples if sample.split == split]
    if split is None:
        return {"right": [], "wrong": [], "uncertain": []}
    labels = np.array([sample.label for sample in of_split])
    probabilities = np.array([sample.probability for sample in of_split])
    chosen = choose(labels, probabilities, metrics[split]["threshold"])
    return {kind: [_figure(of_split[index]) for index in indices] for kind, indices in chosen.items()}


def _with_heat_maps(samples: Sequence[Sample], model: keras.Model) -> list[Sample]:
    from trainer.models.gradcam import heat_maps
    from trainer.report.heat_overlay import overlay

    heats = heat_maps(model, np.stack([sample.pixels for sample in samples]))
    return [replace(sample, overlay=overlay(sample.pixels, heat)) for sample, heat in zip(samples, heats, strict=True)]


def _picture(sample: Sample) -> str:
    """Returns the image as a data URI, with the image under its heat map below if there is one."""
    if sample.overlay is None:
        return image_uri(sample.pixels, SAMPLE_PX)
    grey = np.repeat(sample.pixels[..., None], 3, axis=-1)
    return image_uri(np.concatenate([grey, sample.overlay]), 2 * SAMPLE_PX)


def _figure(sample: Sample) -> dict[str, Any]:
    return {
        "filename": sample.filename,
        "split": sample.split,
        "label": sample.label,
        "probability": f"{sample.probability:.3f}",
        "uri": _picture(sample),
        "has_heat": sample.overlay is not None,
    }
