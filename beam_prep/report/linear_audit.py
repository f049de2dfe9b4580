"""Measures how well a linear model tells the class from small records: what a network can learn without any lung."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import BINARY, UNKNOWN
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.images.decode import decode_record
from beam_prep.planning.shortcut_audit import auroc
from beam_prep.storage.paths import AnyPath

LINEAR_PX = 32
MAX_IMAGES = 2000
MIN_PER_CLASS = 20
"""The fewest images of each class in a half, below which the AUROC would be chance."""
PENALTY = 1.0  # half of it times the square of each weight is added to the loss, which is a sum over images
NUM_STEPS = 8


def linear_aurocs(dataset: AnyPath, manifest: Manifest) -> dict[str, float | None]:
    """Measures logistic regressions on the first training records, shrunk to `LINEAR_PX`, for each label.

    Each learns from one half of the patients and is tried on the other, and the other way round.

    Args:
        dataset: the dataset folder.
        manifest: the manifest of the dataset.

    Returns:
        Class name → the mean AUROC of telling its images from all others of which it is known that they are not of the
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
    columns = list(enumerate(manifest.class_names))
    return {
        name: _auroc_of(pixels[known], vectors[known, index], halves[known])
        for index, name in (columns[1:] if manifest.task == BINARY else columns)
        for known in [vectors[:, index] != UNKNOWN]
    }


def _auroc_of(pixels: np.ndarray, labels: np.ndarray, halves: np.ndarray) -> float | None:
    """Returns the AUROC for one label; None where there are too few images.

    Args:
        pixels: the images in 0..1, float64 [N, P].
        labels: 0 or 1, int [N].
        halves: the half of the patients, 0 or 1, int [N].
    """
    if np.bincount(2 * halves + labels, minlength=4).min() < MIN_PER_CLASS:
        return None
    pixels = pixels - pixels.mean(axis=0)
    pixels = np.hstack([pixels, np.ones((len(pixels), 1))])
    found = []
    for half in (0, 1):
        learned, tried = halves == half, halves != half
        scores = pixels[tried] @ _fit(pixels[learned], labels[learned])
        found.append(auroc(scores[labels[tried] == 0].tolist(), scores[labels[tried] == 1].tolist()))
    return sum(found) / 2


def _rows(dataset: AnyPath, manifest: Manifest) -> Iterator[tuple[int, tuple[int, ...], np.ndarray]]:
    """Yields the half of the patient, the value of each class and the pixels, uint8 [P], of each training record."""
    sizes = manifest.image_sizes
    shards = manifest.shards(sizes[0], "train") if sizes else []
    for data in itertools.chain.from_iterable(read_frames(dataset / shard.path) for shard in shards):
        record = from_example(data)
        pixels = decode_record(record.encoded, encoding=record.encoding, height=record.height, width=record.width)
        small = Image.fromarray(pixels).resize((LINEAR_PX, LINEAR_PX), Image.Resampling.BILINEAR)
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
