"""Measures how well two small models tell the classes from small records, without any fine sign of a disease."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import BINARY, UNKNOWN
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.images.decode import decode_record
from beam_prep.planning.shortcut_audit import auroc
from beam_prep.report.tiny_cnn import TinyCnn
from beam_prep.storage.paths import AnyPath

SMALL_PX = 32
MAX_IMAGES = 2000
MIN_PER_CLASS = 20
"""The fewest images of each class in a half, below which the AUROC would be chance."""
PENALTY = 1.0  # half of it times the square of each weight is added to the loss, which is a sum over images
NUM_STEPS = 8


class SmallModels(NamedTuple):
    """The AUROC of each small model for one label.

    Attributes:
        linear: that of a logistic regression on the pixels.
        cnn: that of a network of three convolutions, see `TinyCnn`.
    """

    linear: float
    cnn: float


def small_model_aurocs(dataset: AnyPath, manifest: Manifest) -> dict[str, SmallModels | None]:
    """Measures both models on the first training records, shrunk to `SMALL_PX`, for each label.

    Each learns from one half of the patients and is tried on the other, and the other way round.

    Args:
        dataset: the dataset folder.
        manifest: the manifest of the dataset.

    Returns:
        Class name → the mean AUROCs of telling its images from all others of which it is known that they are not of the
        class; None where there are too few images. The binary task has its second class only. Empty where the shards
        hold no image or can't be read.
    """
    try:
        rows = list(itertools.islice(_rows(dataset, manifest), MAX_IMAGES))
    except (OSError, ValueError):
        return {}
    if not rows:
        return {}
    halves, vectors = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    pixels = np.stack([row[2] for row in rows]).astype(np.float64) / 255
    first = int(manifest.task == BINARY)
    names, vectors = manifest.class_names[first:], vectors[:, first:]
    is_measured = [_has_enough(column, halves) for column in vectors.T]
    if not any(is_measured):
        return dict.fromkeys(names)
    logits = _cnn_logits(pixels, vectors, halves)
    return {
        name: SmallModels(
            _auroc_by_half(_linear_scores(pixels[known], column[known], halves[known]), column[known], halves[known]),
            _auroc_by_half(scores[known], column[known], halves[known]),
        )
        if is_enough
        else None
        for name, column, scores, is_enough in zip(names, vectors.T, logits.T, is_measured, strict=True)
        for known in [column != UNKNOWN]
    }


def _has_enough(labels: np.ndarray, halves: np.ndarray) -> bool:
    """Returns True if both halves have enough images with a label and without it, for labels as in `Record.vector`."""
    known = labels != UNKNOWN
    return bool(np.bincount(2 * halves[known] + labels[known], minlength=4).min() >= MIN_PER_CLASS)


def _auroc_by_half(scores: np.ndarray, labels: np.ndarray, halves: np.ndarray) -> float:
    """Returns the mean AUROC over both halves of the patients, of scores float [N] and labels 0 or 1, int [N]."""
    parts = [[scores[(halves == half) & (labels == label)].tolist() for label in (0, 1)] for half in (0, 1)]
    return sum(auroc(*part) for part in parts) / 2


def _linear_scores(pixels: np.ndarray, labels: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Returns the score of each image by a regression that was fitted to the other half of the patients.

    Args:
        pixels: the images in 0..1, float64 [N, P].
        labels: 0 or 1, int [N].
        halves: the half of the patients, 0 or 1, int [N].
    """
    pixels = pixels - pixels.mean(axis=0)
    pixels = np.hstack([pixels, np.ones((len(pixels), 1))])
    scores = np.empty(len(labels))
    for half in (0, 1):
        learned = halves == half
        scores[~learned] = pixels[~learned] @ _fit(pixels[learned], labels[learned])
    return scores


def _cnn_logits(pixels: np.ndarray, vectors: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Returns the logits of all labels [N, K] by a network that was trained on the other half of the patients."""
    images = ((pixels - pixels.mean()) / max(pixels.std(), 1e-6)).astype(np.float32).reshape(-1, SMALL_PX, SMALL_PX)
    logits = np.empty(vectors.shape)
    for half in (0, 1):
        learned = halves == half
        logits[~learned] = TinyCnn.fit(images[learned], vectors[learned]).logits(images[~learned])
    return logits


def _rows(dataset: AnyPath, manifest: Manifest) -> Iterator[tuple[int, tuple[int, ...], np.ndarray]]:
    """Yields the half of the patient, the value of each class and the pixels, uint8 [P], of each training record."""
    sizes = manifest.image_sizes
    shards = manifest.shards(sizes[0], "train") if sizes else []
    for data in itertools.chain.from_iterable(read_frames(dataset / shard.path) for shard in shards):
        record = from_example(data)
        pixels = decode_record(record.encoded, encoding=record.encoding, height=record.height, width=record.width)
        small = Image.fromarray(pixels).resize((SMALL_PX, SMALL_PX), Image.Resampling.BILINEAR)
        yield zlib.crc32(record.group.encode()) % 2, record.vector, np.asarray(small).ravel()


def _fit(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fits a logistic regression with a ridge penalty by Newton's method: float64 [P], of pixels float64 [N, P].

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition, 4.4.1.
    """
    if len(pixels) < pixels.shape[1]:  # the weights are a mixture of the images, of which there are fewer than pixels
        basis, mixed = np.linalg.qr(pixels.T)
        return basis @ _fit(mixed.T, labels)
    weights = np.zeros(pixels.shape[1])
    for _ in range(NUM_STEPS):
        shares = 1 / (1 + np.exp(-(pixels @ weights).clip(-30, 30)))
        curvature = pixels.T @ (pixels * (shares * (1 - shares))[:, None]) + PENALTY * np.eye(len(weights))
        weights += np.linalg.solve(curvature, pixels.T @ (labels - shares) - PENALTY * weights)
    return weights
