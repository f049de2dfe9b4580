"""Chooses the threshold at or above which an image is called positive. Loads nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import CLASS_NAMES, MULTICLASS, MULTILABEL
from trainer.config.threshold_rule import ThresholdRule, parse_rule
from trainer.run.model_card import NOTHING_CALLED, OperatingPoint

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)


def fit_operating_point(
    rule: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str] | None = None,
    class_names: Sequence[str] = CLASS_NAMES,
) -> OperatingPoint:
    """Chooses thresholds and temperatures on the validation images, see `OperatingPoint`.

    Args:
        rule: see `parse_rule`; not used for a multiclass model, which has no threshold.
        labels, probabilities, groups: as in `Predictions`.
        class_names: the names of the classes or findings.

    Raises:
        UsageError: the rule needs images of both classes, and all are of one class. The threshold of such a finding is
            0.5, which is logged.
    """
    import numpy as np

    from trainer.evaluation.calibration import fit_temperature

    if probabilities.ndim == 1:
        threshold = choose_threshold(rule, labels, probabilities, groups, class_names)
        return OperatingPoint(threshold, rule, fit_temperature(labels, probabilities))
    if labels.ndim == 1:
        return OperatingPoint(temperature=fit_temperature(labels, probabilities), task=MULTICLASS)
    thresholds, temperatures = [], []
    for index, name in enumerate(class_names):
        known = labels[:, index] >= 0
        truths, scores = labels[known, index], probabilities[known, index]
        patients = None if groups is None else np.asarray(groups)[known].tolist()
        if parse_rule(rule).kind != "fixed" and len(np.unique(truths)) < 2:
            logger.warning(
                "--threshold_rule %s: no validation image shows whether it holds for %s (%d present, %d absent); "
                "its threshold is 0.5",
                *(rule, name, np.sum(truths == 1), np.sum(truths == 0)),
            )
            thresholds.append(0.5)
        else:
            thresholds.append(choose_threshold(rule, truths, scores, patients, (f"not {name}", name)))
        temperatures.append(fit_temperature(truths, scores))
    return OperatingPoint(
        threshold_rule=rule, task=MULTILABEL, thresholds=tuple(thresholds), temperatures=tuple(temperatures)
    )


def choose_threshold(
    rule: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str] | None = None,
    class_names: Sequence[str] = CLASS_NAMES,
) -> float:
    """Chooses a threshold by a rule.

    It lies halfway between two neighbouring scores, so that rounding on another machine moves no image across it.
    Scores that are equal in float32, in which an exported model compares, are not told apart.

    Args:
        rule: see `parse_rule`.
        labels: int [N], of the validation images.
        probabilities: float [N] in 0..1, of the positive class.
        groups: [N], the patient of each image, for rules with a confidence; if not given, each image has its own.
        class_names: the names of the two classes.

    Raises:
        UsageError: the rule needs images of both classes, and all are of one class.
    """
    import numpy as np

    from trainer.statistics.bootstrap import Ranking

    parsed = parse_rule(rule)
    if parsed.kind == "fixed":
        return parsed.number
    if len(np.unique(labels)) < 2:
        raise UsageError(f"--threshold_rule {rule} needs validation images of both classes; give a probability")
    rounded = probabilities.astype(np.float32)
    ranking = Ranking(labels, rounded)
    sensitivity, specificity = rates(ranking)

    def threshold_at(column: int) -> float:
        return _below(probabilities, rounded >= ranking.thresholds[column - 1] if column else rounded > 1)

    if parsed.kind == "youden":
        return threshold_at(int(np.argmax(sensitivity + specificity)))
    if parsed.kind == "sensitivity":
        columns = np.flatnonzero(sensitivity >= parsed.number)
    else:
        columns = np.flatnonzero(specificity >= parsed.number)[::-1]
    patients = np.arange(len(labels)) if groups is None else np.asarray(groups)
    # The last column calls all images positive, or none: its rate is 1 for future images too.
    for column in columns[:-1]:
        threshold = threshold_at(int(column))
        if _holds(parsed, labels, probabilities >= threshold, patients):
            return threshold
    if parsed.confidence is not None:
        of_class, name = labels == _label(parsed), class_names[_label(parsed)]
        counts = f"{of_class.sum()} validation images of {name} of {len(np.unique(patients[of_class]))} patients"
        logger.warning("--threshold_rule %s: %s can't show this; all images are called %s", rule, counts, name)
    return threshold_at(int(columns[-1]))


def _label(rule: ThresholdRule) -> int:
    """Returns the label of the class whose images the rate of a rule is a share of."""
    return 1 if rule.kind == "sensitivity" else 0


def _holds(rule: ThresholdRule, labels: np.ndarray, called: np.ndarray, patients: np.ndarray) -> bool:
    """Returns True if the lower bound of the rate meets the rule; always for a rule without confidence."""
    from trainer.statistics.shares import lower_bound

    if rule.confidence is None:
        return True
    of_class = labels == _label(rule)
    bound = lower_bound((called == labels)[of_class], patients[of_class], confidence=rule.confidence)
    return bound is not None and bound >= rule.number


def rates(ranking: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns sensitivity and specificity at each threshold of a `Ranking` of images of both classes, [U + 1] each."""
    import numpy as np

    true, false = ranking.counts(np.ones((1, len(ranking))))
    return true[0] / true[0, -1], (false[0, -1] - false[0]) / false[0, -1]


def best_at(ranking: Any, *, least: float = 0.9) -> tuple[float, float]:
    """Returns the best sensitivity at a specificity of at least `least`, and the best specificity the other way round.

    Args:
        ranking: `Ranking` of images of both classes.
        least: the rate in 0..1 that the other one must reach.
    """
    sensitivity, specificity = rates(ranking)
    return float(sensitivity[specificity >= least].max()), float(specificity[sensitivity >= least].max())


def _below(probabilities: np.ndarray, called: np.ndarray) -> float:
    """Returns a threshold at which just some images are called, in float64 and rounded to float32.

    Args:
        probabilities: float [N] in 0..1.
        called: bool [N], True for the images to be called; their probabilities are higher than the others' in float32.
    """
    import numpy as np

    upper = float(probabilities[called].min(initial=1.0))
    lower = float(probabilities[~called].max(initial=0.0))
    middle = (upper + lower) / 2
    if called.all() or np.float32(middle) > np.float32(lower):
        return middle
    if not called.any():
        return NOTHING_CALLED
    # The middle of neighbouring numbers of float32 may be rounded down, to the lower one.
    edge = (float(np.float32(upper)) + float(np.float32(lower))) / 2
    return edge if np.float32(edge) > np.float32(lower) else float(np.nextafter(edge, 1.0))
