"""How often each image is drawn in an epoch, where that is not once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def balanced_draws(labels: Sequence[int], num_draws: int, *, seed: int, epoch: int) -> np.ndarray:
    """Equally many draws of either class, a function of its arguments alone.

    Each class is an endless row of its images, in one random order after the other; an epoch takes the next piece of
    both rows. So no image is ever drawn twice more than another one of its class, over any number of epochs, and what
    the more frequent class has no room for in one epoch comes in the next.

    Args:
        labels: 0 or 1, [N], both of them present.
        num_draws: of the epoch; of an odd number, the classes have the odd one by turns.
        seed: of the orders.
        epoch: from 0.

    Returns:
        int64 [N], how often each image is drawn.
    """
    classes = np.asarray(labels)
    draws = np.zeros(len(classes), np.int64)
    for label in (0, 1):
        members = np.flatnonzero(classes == label)
        start, end = ((number * num_draws + label) // 2 for number in (epoch, epoch + 1))
        for turn in range(start // len(members), -(-end // len(members))):
            order = np.random.default_rng((seed, label, turn)).permutation(members)
            first = turn * len(members)
            draws[order[max(start - first, 0) : end - first]] += 1
    return draws
