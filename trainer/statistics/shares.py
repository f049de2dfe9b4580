"""Computes intervals of shares of images, such as the sensitivity, by the exact binomial of an effective sample size.

The images of a patient are not independent: the number of images is divided by the design effect, which is the variance
over patients as a multiple of the variance of as many independent images. Few patients with the rarer outcome tell
little about the design effect: it is drawn towards the number of images a patient, as if a patient's were all alike.

Source: Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934; Korn and Graubard,
Confidence intervals for proportions with small expected number of positive counts estimated from survey data, Survey
Methodology 24, 1998.
"""

from __future__ import annotations

import numpy as np

from trainer.statistics.patients import Groups, number_patients, sum_by_patient

PRIOR_PATIENTS = 2
"""The number of patients with the rarer outcome that images which are all alike count as much as."""


def share_interval(hits: np.ndarray, groups: Groups, *, confidence: float = 0.95) -> list[float] | None:
    """Returns the interval [low, high] of the share of images that are hits; None without an image.

    Args:
        hits: bool [N].
        groups: [N], the patient of each image.
        confidence: the probability that the interval holds the true share, in 0..1.
    """
    tail = (1 - confidence) / 2
    low = lower_bound(hits, groups, confidence=1 - tail)
    high = lower_bound(~hits, groups, confidence=1 - tail)
    return None if low is None or high is None else [low, 1 - high]


def lower_bound(hits: np.ndarray, groups: Groups, *, confidence: float) -> float | None:
    """Returns the one-sided lower bound of the share of images that are hits; see `share_interval`."""
    from scipy.special import betaincinv

    if not len(hits):
        return None
    if not hits.any():
        return 0.0
    size = effective_size(hits, groups)
    successes = size * hits.mean()
    of_all_hits = (1 - confidence) ** (1 / effective_size(np.full(len(hits), True), groups))
    # The first image that is not a hit tells more of the design effect, which must not raise the bound.
    return float(min(betaincinv(successes, size - successes + 1, 1 - confidence), of_all_hits))


def effective_size(hits: np.ndarray, groups: Groups) -> float:
    """Returns the number of independent images that are worth as much as these; see `share_interval`."""
    patients, total = number_patients(groups), len(hits)
    num_images = np.bincount(patients)
    num_hits = sum_by_patient(hits, patients)
    num_patients, share = len(num_images), hits.mean()
    num_rare = min(np.sum(num_hits > 0), np.sum(num_hits < num_images))
    if num_rare == 0 or num_patients == 1:
        return float(num_patients)
    residuals = num_hits - num_images * share
    observed = num_patients / (num_patients - 1) * np.sum(residuals**2) / (total * share * (1 - share))
    effect = (num_rare * observed + PRIOR_PATIENTS * total / num_patients) / (num_rare + PRIOR_PATIENTS)
    return float(total / np.clip(effect, 1, np.sum(num_images**2) / total))
