"""Fits a linear probe: PCA and logistic regression on features, folded into one linear layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import EVERY_IMAGE, divide_by_label, rank

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 3))
"""The strengths C of the regression that are tried: the inverse of the L2 penalty, the smallest first."""


@dataclass(frozen=True)
class Strength:
    """A strength of the regression and its AUROC on held-out patients.

    Attributes:
        value: the inverse of the L2 penalty.
        auroc: mean AUROC over the folds; of three or more classes or of findings, that of each, averaged.
        auroc_sd: standard deviation of the AUROC over the folds.
    """

    value: float
    auroc: float
    auroc_sd: float


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        pipeline: standardization, PCA, logistic regression; fitted on all images.
        best: the strength that the probe was fitted with.
        tried: all strengths that were tried.
    """

    pipeline: Pipeline
    best: Strength
    tried: tuple[Strength, ...]

    @property
    def explained_variance(self) -> float:
        """The share of the variance of the standardized features that the principal components explain."""
        return float(self.pipeline["pca"].explained_variance_ratio_.sum())

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Folds the three steps into one linear layer from features to logits.

        Returns:
            Weights float64 [F, C] and biases float64 [C], for one logit of two classes, or for one of each class or
            finding.
        """
        scaler, pca, regression = (self.pipeline[name] for name in ("standardscaler", "pca", "logisticregression"))
        centre = scaler.mean_ / scaler.scale_ + pca.mean_
        slopes = [row @ pca.components_ for row in regression.coef_]  # [C][F], of the standardized features
        biases = [bias - row @ centre for bias, row in zip(regression.intercept_, slopes, strict=True)]
        return np.stack([row / scaler.scale_ for row in slopes], axis=1), np.array(biases)


class FindingRegressions:
    """A logistic regression for each finding, fitted on the images of which the finding is known.

    A finding that is present in all of these images, or in none, has a logit that no feature changes.

    Args:
        regression: the regression that is fitted for each finding.

    Attributes:
        C: the strength of the regressions.
        coef_: the weights of the features, float64 [K, F].
        intercept_: the biases, float64 [K].
    """

    def __init__(self, regression: LogisticRegression) -> None:
        self._regression = regression
        self.C = regression.C
        self.coef_ = self.intercept_ = np.empty(0)

    def fit(self, features: np.ndarray, labels: np.ndarray) -> FindingRegressions:
        """Fits the regressions to features float [N, F] and labels int [N, K]: 1 present, 0 absent, -1 unknown."""
        fitted = []
        for of_finding in labels.T:
            known = of_finding >= 0
            truths = of_finding[known]
            if len(np.unique(truths)) == 2:
                self._regression.fit(features[known], truths)
                fitted.append((self._regression.coef_[0].copy(), float(self._regression.intercept_[0])))
            else:
                odds = (np.sum(truths == 1) + 0.5) / (np.sum(truths == 0) + 0.5)
                fitted.append((np.zeros(features.shape[1]), float(np.log(odds))))
        self.coef_, self.intercept_ = (np.array(column) for column in zip(*fitted, strict=True))
        return self

    def auroc(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Returns the mean AUROC of the findings that some of the images have and others lack."""
        from sklearn.metrics import roc_auc_score

        logits = features @ self.coef_.T + self.intercept_
        return float(
            np.mean(
                [
                    roc_auc_score(of_finding[of_finding >= 0], scores[of_finding >= 0])
                    for of_finding, scores in zip(labels.T, logits.T, strict=True)
                    if {0, 1} <= {*of_finding.tolist()}
                ]
            )
        )


def check_components(pca_components: int, *, num_features: int, num_images: int) -> None:
    """Checks that there are as many features and as many images as components.

    Raises:
        UsageError: there are fewer.
    """
    if pca_components > min(num_features, num_images):
        raise UsageError(
            f"--pca_components is {pca_components}, but there are {num_features} features and {num_images} images to "
            f"fit on; give at most {min(num_features, num_images)}"
        )


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    pca_components: int,
    num_folds: int,
    class_weights: bool,
    seed: int,
    on_fold: Callable[[], object] = lambda: None,
) -> Probe:
    """Chooses the strength by cross-validation over patients, then fits the probe on all images.

    In each fold all three steps are fitted anew, standardization and PCA too, on the patients that are not held out.

    Args:
        features: float [N, F].
        labels: int [N], from 0 to K - 1; of findings int [N, K]: 1 present, 0 absent, -1 unknown.
        groups: [N], the patient of each image.
        pca_components: number of principal components; at most F and at most the number of images of a fold.
        num_folds: number of folds; 2 or more.
        class_weights: weight each class by n / (K n_class), for n images; of a finding, the present and the absent.
        seed: seed of the folds, and of the PCA where it is randomized.
        on_fold: called after each fold.

    Raises:
        UsageError: there are too many components, or too few patients for the folds.

    Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016 (arXiv:1610.01644).
    """
    folds = patient_folds(labels, groups, num_folds, seed)
    smallest = min(len(fitted) for fitted, _ in folds)
    check_components(pca_components, num_features=features.shape[1], num_images=smallest)
    scores = []  # [folds][strengths]
    for fitted, held_out in folds:
        reduce, regressions = _steps(pca_components, class_weights, seed, labels.ndim == 2)
        train = reduce.fit_transform(features[fitted])
        test = reduce.transform(features[held_out])
        scores.append(
            [_auroc(regression.fit(train, labels[fitted]), test, labels[held_out]) for regression in regressions]
        )
        on_fold()
    tried = tuple(
        Strength(value, float(np.mean(of_folds)), float(np.std(of_folds, ddof=1)))
        for value, of_folds in zip(STRENGTHS, np.transpose(scores), strict=True)
    )
    best = max(tried, key=lambda strength: strength.auroc)  # of equal ones the first: the most penalized
    reduce, regressions = _steps(pca_components, class_weights, seed, labels.ndim == 2)
    reduce.steps.append(("logisticregression", regressions[tried.index(best)]))
    return Probe(reduce.fit(features, labels), best, tried)


def _auroc(regression: Any, features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the AUROC of a fitted regression; of more classes than two or of findings that of each, averaged."""
    from sklearn.metrics import roc_auc_score

    if isinstance(regression, FindingRegressions):
        return regression.auroc(features, labels)
    if len(regression.classes_) == 2:
        return float(roc_auc_score(labels, regression.decision_function(features)))
    return float(roc_auc_score(labels, regression.predict_proba(features), multi_class="ovr"))


def patient_folds(
    labels: np.ndarray, groups: Sequence[str] | np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides the images into folds by patient.

    Returns:
        For each fold the indices of the images to fit on and of the images that are held out; no patient is in both.

    Raises:
        UsageError: some fold would hold out no image of some class, or no finding could be measured on it.
    """
    if labels.ndim == 2:
        return _folds_of_findings(labels, groups, num_folds, seed)
    from sklearn.model_selection import StratifiedGroupKFold

    patients, num_classes = np.asarray(groups), int(np.max(labels)) + 1
    fewest = min(len(np.unique(patients[labels == label])) for label in range(num_classes))
    if fewest >= num_folds:
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        folds = list(splitter.split(labels, labels, patients))
        if all(len(np.unique(labels[held_out])) == num_classes for _, held_out in folds):
            return folds
    raise UsageError(
        f"--folds is {num_folds}, but only {fewest} patients of one class have training images, too few for every "
        "fold; give fewer folds"
    )


def _folds_of_findings(
    labels: np.ndarray, groups: Sequence[str] | np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides the images into folds by patient, which hold each finding in proportion; see `patient_folds`."""
    patients = [str(group) for group in groups]
    counts: dict[str, Counter[Hashable]] = {patient: Counter() for patient in patients}
    for patient, row in zip(patients, labels, strict=True):
        counts[patient].update([EVERY_IMAGE, *np.flatnonzero(row == 1).tolist()])
    ranks = {patient: rank(f"fold {seed} {patient}") for patient in counts}
    part_of = divide_by_label(counts, ranks, [1 / num_folds] * num_folds)
    parts = np.array([part_of[patient] for patient in patients])
    folds = [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in range(num_folds)]
    for _, held_out in folds:
        if not np.any(np.any(labels[held_out] == 1, axis=0) & np.any(labels[held_out] == 0, axis=0)):
            raise UsageError(
                f"--folds is {num_folds}, but the training images of {len(counts)} patients are too few for a finding "
                "that is present and absent in every fold; give fewer folds"
            )
    return folds


def _steps(pca_components: int, class_weights: bool, seed: int, has_findings: bool) -> tuple[Pipeline, list[Any]]:
    """Returns a pipeline of standardization and PCA, and a regression for each strength; nothing is fitted."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    balance = "balanced" if class_weights else None
    regressions = [LogisticRegression(C=value, class_weight=balance, max_iter=10000) for value in STRENGTHS]
    reduce = make_pipeline(StandardScaler(), PCA(pca_components, random_state=seed))
    return reduce, [FindingRegressions(regression) for regression in regressions] if has_findings else regressions
