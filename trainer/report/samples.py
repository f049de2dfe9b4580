"""Which images of a split are worth a look, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_prep.pages.page import image_uri

SHOWN_BY_CLASS = 3
SHOWN_UNCERTAIN = 6
SAMPLE_PX = 256


@dataclass(frozen=True)
class Sample:
    """An image with its prediction, to be shown.

    Attributes:
        filename: as in the predictions.
        label: 0 NORMAL or 1 PNEUMONIA, the truth.
        probability: of PNEUMONIA, in 0..1.
        split: where it is from; its threshold decides whether the prediction is right.
        pixels: uint8 [H, W].
        overlay: RGB, uint8 [H, W, 3]: the image under its heat map; None without one.
    """

    filename: str
    label: int
    probability: float
    split: str
    pixels: np.ndarray
    overlay: np.ndarray | None = None


def telling(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, list[int]]:
    """The images at the ends and at the edge.

    Args:
        labels: int [N].
        probabilities: float [N], of PNEUMONIA.
        threshold: at or above it an image is called PNEUMONIA.

    Returns:
        Indices, the most telling first: `right` and `wrong` hold the surest of each class, `uncertain` those nearest to
        the threshold. An image can be in two of them.
    """
    distance = np.abs(probabilities - threshold)
    sure, unsure = np.argsort(-distance, kind="stable"), np.argsort(distance, kind="stable")
    right = (probabilities >= threshold) == (labels == 1)

    def surest(wanted: np.ndarray) -> list[int]:
        by_class = [sure[(wanted & (labels == label))[sure]][:SHOWN_BY_CLASS] for label in (0, 1)]
        return np.concatenate(by_class).tolist()

    return {"right": surest(right), "wrong": surest(~right), "uncertain": unsure[:SHOWN_UNCERTAIN].tolist()}


def shown(samples: Sequence[Sample], metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The samples of the first split that has any, as the page shows them, by what they tell; see `telling`.

    Args:
        samples: of any splits.
        metrics: by split, as in `metrics.json`; the page's leading split first.
    """
    split = next((name for name in metrics if any(sample.split == name for sample in samples)), None)
    chosen = [sample for sample in samples if sample.split == split]
    if split is None:
        return {"right": [], "wrong": [], "uncertain": []}
    labels = np.array([sample.label for sample in chosen])
    probabilities = np.array([sample.probability for sample in chosen])
    found = telling(labels, probabilities, metrics[split]["threshold"])
    return {kind: [_figure(chosen[index]) for index in indices] for kind, indices in found.items()}


def picture(pixels: np.ndarray, overlay: np.ndarray | None = None) -> str:
    """The picture of an image on the page, as a data URI: the one place where it is made.

    Args:
        pixels: uint8 [H, W].
        overlay: RGB, uint8 [H, W, 3], to stand below the image.
    """
    if overlay is None:
        return image_uri(pixels, SAMPLE_PX)
    return image_uri(np.concatenate([np.repeat(pixels[..., None], 3, axis=-1), overlay]), 2 * SAMPLE_PX)


def _figure(sample: Sample) -> dict[str, Any]:
    return {
        "filename": sample.filename,
        "split": sample.split,
        "label": sample.label,
        "probability": f"{sample.probability:.3f}",
        "uri": picture(sample.pixels, sample.overlay),
        "has_heat": sample.overlay is not None,
    }
