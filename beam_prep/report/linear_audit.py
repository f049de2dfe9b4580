"""Measures how well a linear model tells the class from small records: what a network can learn without any lung."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import Manifest
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


def linear_auroc(dataset: AnyPath, manifest: Manifest) -> float | None:
    """Returns the AUROC of a logistic regression on the first training records, shrunk to `LINEAR_PX`.

    It learns from one half of the patients and is tried on the other, and the other way round; the mean is returned.

    Args:
        dataset: the dataset folder.
        manifest: the manifest of the dataset.

    Returns:
        The AUROC; None where the dataset has too few images of a class, or its shards can't be read.
    """
    try:
        rows = list(itertools.islice(_rows(dataset, manifest), MAX_IMAGES))
    except (OSError, ValueError):
        return None
    if not rows:
        return None
    halves, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if np.bincount(2 * halves + labels, minlength=4).min() < MIN_PER_CLASS:
        return None
    pixels = np.stack([row[2] for row in rows]).astype(np.float64) / 255
    pixels -= pixels.mean(axis=0)
    pixels = np.hstack([pixels, np.ones((len(pixels), 1))])
    found = []
    for half in (0, 1):
        learned, tried = halves == half, halves != half
        scores = pixels[tried] @ _fit(pixels[learned], labels[learned])
        found.append(auroc(scores[labels[tried] == 0].tolist(), scores[labels[tried] == 1].tolist()))
    return sum(found) / 2


def _rows(dataset: AnyPath, manifest: Manifest) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields the half of the patient, the label and the pixels, uint8 [`LINEAR_PX` ** 2], of each training record."""
    sizes = manifest.image_sizes
    shards = manifest.shards(sizes[0], "train") if sizes else []
    for data in itertools.chain.from_iterable(read_frames(dataset / shard.path) for shard in shards):
        record = from_example(data)
        pixels = decode_record(record.encoded, encoding=record.encoding, height=record.height, width=record.width)
        small = Image.fromarray(pixels).resize((LINEAR_PX, LINEAR_PX), Image.Resampling.BILINEAR)
        yield zlib.crc32(record.group.encode()) % 2, record.label, np.asarray(small).ravel()


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
