"""Chooses the images of a split that the run page shows, reads them from the records and draws their heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.dataset.schema import BINARY, MULTICLASS
from beam_prep.pages.page import image_uri
from trainer.evaluation.calibration import calibrate
from trainer.report.curves import SPLIT_NAMES
from trainer.run.model_card import OperatingPoint

if TYPE_CHECKING:
    import keras

    from trainer.data.splits import SplitSource
    from trainer.evaluation.evaluate import Evaluation
    from trainer.evaluation.predictions import Predictions

SHOWN_BY_CLASS = 3
SHOWN_UNCERTAIN = 6
SAMPLE_PX = 256


@dataclass(frozen=True)
class Sample:
    """An image with its prediction, to be shown on a page.

    Attributes:
        filename: the name of the image file, as in the predictions.
        label: the true class of two, 0 or 1; of several classes or findings, the index of the class that is shown.
        probability: of the positive class, in 0..1, or of the class that is shown.
        split: the split of the image; the threshold of this split decides whether the prediction is right.
        pixels: uint8 [H, W].
        overlay: the image under its heat map, RGB, uint8 [H, W, 3]; None without a heat map.
        kind: of several classes or findings, `right`, `wrong` or `uncertain`; empty for two classes.
        truth: of several classes or findings, what is true of the image, in words.
        predicted: of several classes or findings, what the run predicts, in words.
        calibrated: of several classes or findings, the calibrated probability of the class that is shown.
    """

    filename: str
    label: int
    probability: float
    split: str
    pixels: np.ndarray
    overlay: np.ndarray | None = None
    kind: str = ""
    truth: str = ""
    predicted: str = ""
    calibrated: float = 0.0


def choose(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, list[int]]:
    """Chooses the images to show: the predictions that are right or wrong and most certain, and the least certain ones.

    Args:
        labels: int [N].
        probabilities: float [N], of the positive class.
        threshold: the probability at or above which an image is called positive.

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
    if not (wanted := _plan(evaluation)):
        return []
    samples: list[Sample] = []
    start = 0
    for batch in evaluation_batches(sources[evaluation.split], batch_size=BATCH_SIZE):
        end = start + int(batch["images"].shape[0])
        for index in sorted(wanted.keys() & range(start, end)):
            pixels = batch["images"][index - start, :, :, 0].numpy()
            samples += [replace(sample, pixels=pixels) for sample in wanted[index]]
        start = end
        if start > max(wanted):
            break
    if model is None:
        return samples
    is_binary = evaluation.predictions.task == BINARY
    return _with_heat_maps(samples, model, [0 if is_binary else sample.label for sample in samples])


def _plan(evaluation: Evaluation) -> dict[int, list[Sample]]:
    """Returns the samples of a split by the place of their image, without their pixels."""
    predictions, split, nothing = evaluation.predictions, evaluation.split, np.empty((0, 0), np.uint8)
    planned: dict[int, list[Sample]] = {}
    if predictions.task == BINARY:
        chosen = choose(predictions.labels, predictions.probabilities, evaluation.numbers["threshold"])
        for index in {index for indices in chosen.values() for index in indices}:
            label, probability = int(predictions.labels[index]), float(predictions.probabilities[index])
            planned[index] = [Sample(predictions.filenames[index], label, probability, split, nothing)]
        return planned
    point = OperatingPoint.of(evaluation.numbers)
    calibrated, called = calibrate(predictions.probabilities, point), predictions.called(point)
    of_kind = choose_of_classes(predictions, point)
    for kind, index, label in [(kind, *place) for kind, places in of_kind.items() for place in places]:
        is_class = predictions.task == MULTICLASS
        shown_call = called[index].argmax() if is_class else called[index, label]
        sample = Sample(
            *(predictions.filenames[index], label, float(predictions.probabilities[index, label]), split, nothing),
            kind=kind,
            truth=_truth(predictions, index, label),
            predicted=predictions.class_names[shown_call] if is_class else "present" if shown_call else "absent",
            calibrated=float(calibrated[index, label]),
        )
        planned.setdefault(index, []).append(sample)
    return planned


def choose_of_classes(predictions: Predictions, point: OperatingPoint) -> dict[str, list[tuple[int, int]]]:
    """Chooses the images of several classes or findings to show, and the class that each of them is shown for.

    Args:
        predictions: of the split.
        point: the operating point of the run.

    Returns:
        Places of images with the index of a class. `right` holds the most certain image of each class that is called
        rightly, of as many classes as fit; `wrong` the most certain wrong calls, of all classes alike; `uncertain` the
        predictions nearest to another decision.
    """
    called, scores, known = predictions.called(point), predictions.probabilities, predictions.truths >= 0
    true = predictions.truths == 1
    if predictions.task == MULTICLASS:  # a wrong prediction is one image, shown for the class that it is called
        first_two = np.sort(scores, axis=1)[:, -2:]
        distance = np.where(called, (first_two[:, 1] - first_two[:, 0])[:, None], np.inf)
        wrong = called & ~true
    else:
        distance = np.where(known, np.abs(scores - np.array(point.thresholds)), np.inf)
        wrong = known & (called != true)
    found = np.where(called & true, scores, -np.inf)
    right = [
        (int(place), label) for label, place in enumerate(found.argmax(axis=0)) if np.isfinite(found[place, label])
    ]
    sure = np.where(wrong, distance, -np.inf)
    # Of each class so many that all classes fit: one whose threshold is far off would fill the page alone.
    rank = np.argsort(np.argsort(-sure, axis=0, kind="stable"), axis=0)
    sure[rank >= -(-SHOWN_UNCERTAIN // scores.shape[1])] = -np.inf
    return {
        "right": right[: 2 * SHOWN_UNCERTAIN],
        "wrong": [place for place in _largest(sure, SHOWN_UNCERTAIN) if np.isfinite(sure[place])],
        "uncertain": [place for place in _largest(-distance, SHOWN_UNCERTAIN) if np.isfinite(distance[place])],
    }


def _largest(values: np.ndarray, number: int) -> list[tuple[int, int]]:
    """Returns the row and the column of the largest values float [N, K], the largest first."""
    order = np.argsort(-values, axis=None, kind="stable")[:number]
    rows, columns = np.unravel_index(order, values.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _truth(predictions: Predictions, index: int, label: int) -> str:
    """Returns what is true of an image, in words: its class, or whether a finding is present."""
    if predictions.task == MULTICLASS:
        return predictions.class_names[int(predictions.labels[index])]
    return {1: "present", 0: "absent", -1: "not known"}[int(predictions.labels[index, label])]


def shown(
    samples: Sequence[Sample], metrics: Mapping[str, Any], class_names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Returns the samples of the first split that has any, as the template of the page needs them; see `choose`.

    Args:
        samples: of any splits.
        metrics: the content of `metrics.json`, by split, the split that the page is about first.
        class_names: the names of the classes or findings.

    Returns:
        Figures by kind: `right`, `wrong` and `uncertain`.
    """
    split = next((name for name in metrics if any(sample.split == name for sample in samples)), None)
    of_split = [sample for sample in samples if sample.split == split]
    if split is None:
        return {"right": [], "wrong": [], "uncertain": []}
    if any(sample.kind for sample in of_split):
        kinds = ("right", "wrong", "uncertain")
        of_split.sort(key=lambda sample: sample.label)
        return {kind: [_figure(each, class_names) for each in of_split if each.kind == kind] for kind in kinds}
    labels = np.array([sample.label for sample in of_split])
    probabilities = np.array([sample.probability for sample in of_split])
    point = OperatingPoint.of(metrics[split])
    calibrated = calibrate(probabilities, point)
    of_split = [
        replace(
            each,
            truth=class_names[each.label],
            predicted=class_names[int(each.probability >= point.threshold)],
            calibrated=float(score),
            label=1,
        )
        for each, score in zip(of_split, calibrated, strict=True)
    ]
    chosen = choose(labels, probabilities, point.threshold)
    return {kind: [_figure(of_split[index], class_names) for index in indices] for kind, indices in chosen.items()}


def _with_heat_maps(samples: Sequence[Sample], model: keras.Model, outputs: Sequence[int]) -> list[Sample]:
    from trainer.models.gradcam import heat_maps
    from trainer.report.heat_overlay import overlay

    heats = heat_maps(model, np.stack([sample.pixels for sample in samples]), np.array(outputs))
    return [replace(sample, overlay=overlay(sample.pixels, heat)) for sample, heat in zip(samples, heats, strict=True)]


def _picture(sample: Sample) -> str:
    """Returns the image as a data URI, with the image under its heat map below if there is one."""
    if sample.overlay is None:
        return image_uri(sample.pixels, SAMPLE_PX)
    grey = np.repeat(sample.pixels[..., None], 3, axis=-1)
    return image_uri(np.concatenate([grey, sample.overlay]), 2 * SAMPLE_PX)


def _figure(sample: Sample, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the picture of a sample and what its caption says; `sample.label` is the class of the probability."""
    return {
        "filename": sample.filename,
        "truth": sample.truth,
        "predicted": sample.predicted,
        "subject": class_names[sample.label],
        "probability": f"{sample.calibrated:.3f}",
        "uri": _picture(sample),
        "has_heat": sample.overlay is not None,
    }
