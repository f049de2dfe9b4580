"""Decides which images an epoch and a batch take: as many of each stratum, and whole pairs for each replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beam_prep.dataset.schema import PRESENT


def strata_of(labels: Sequence[Any]) -> np.ndarray:
    """Returns the stratum of each image, of which balanced sampling draws equally many, int [N].

    The stratum is the class of an image. Of findings it is the rarest one that is present, since that one would be
    drawn too seldom otherwise; the images without a present finding are one stratum more.

    Args:
        labels: the class of each image, [N]; of findings their values, [N, K].
    """
    values = np.asarray(labels)
    if values.ndim == 1:
        return values
    present = values == PRESENT
    num_present = np.where(present, present.sum(axis=0), len(values) + 1)  # [N, K]
    rarest = np.where(present.any(axis=1), num_present.argmin(axis=1), values.shape[1])
    return np.unique(rarest, return_inverse=True)[1]


def weights_of_draws(labels: Sequence[Any]) -> list[list[float]]:
    """Returns the weights of the labels of findings that balanced draws amount to.

    Args:
        labels: the values of the findings of each image, [N, K].

    Returns:
        float [K, 2], see `class_weights_of`: how often an image of which a finding is absent, or present, is drawn
        while the mean image is drawn once; 0 where there is no such image.
    """
    values, strata = np.asarray(labels), strata_of(labels)
    sizes = np.bincount(strata)
    draws = (len(strata) / len(sizes) / sizes)[strata]
    return [
        [float(draws[of_finding == value].mean()) if value in of_finding else 0.0 for value in (0, 1)]
        for of_finding in values.T
    ]


def balanced_draws(
    labels: Sequence[int] | np.ndarray, num_classes: int, num_draws: int, seed: int, epoch: int
) -> np.ndarray:
    """Returns how often each image is drawn in an epoch: as many draws of each class, a function of the arguments.

    The images of a class form an endless sequence, one random order after the other; an epoch takes the next piece of
    the sequences of all classes. Over any number of epochs, two images of a class differ by one draw at most, and
    images of the more frequent classes that find no place in an epoch are drawn in the next.

    Args:
        labels: labels or strata from 0 to K - 1, [N]; all must occur.
        num_classes: number of classes or strata K.
        num_draws: number of draws in the epoch; the classes take turns to get those that K does not divide.
        seed: seed of the orders.
        epoch: number of the epoch, from 0.

    Returns:
        The number of draws of each image, int64 [N].
    """
    classes = np.asarray(labels)
    draws = np.zeros(len(classes), np.int64)
    for label in range(num_classes):
        members = np.flatnonzero(classes == label)
        start, end = ((number * num_draws + label) // num_classes for number in (epoch, epoch + 1))
        for turn in range(start // len(members), -(-end // len(members))):
            order = np.random.default_rng((seed, label, turn)).permutation(members)
            first = turn * len(members)
            draws[order[max(start - first, 0) : end - first]] += 1
    return draws


def pair_shares(batch_size: int, num_shares: int) -> np.ndarray:
    """Divides a batch into shares of whole pairs, the first image of the batch with the last one and so on.

    Reversing a share gives the partners of its images, as reversing the batch does: mixup is the same on any number of
    replicas.

    Args:
        batch_size: the number of images N.
        num_shares: the number of shares; one, or twice it divides N.

    Returns:
        The rows of the batch by share, int [shares, N / shares].
    """
    rows = np.arange(batch_size)
    if num_shares == 1:
        return rows[None]
    first = rows[: batch_size // 2].reshape(num_shares, -1)
    return np.concatenate([first, batch_size - 1 - first[:, ::-1]], axis=1)
