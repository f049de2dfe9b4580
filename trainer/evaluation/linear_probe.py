"""Fits a linear probe: PCA and logistic regression on features, folded into one linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.console.errors import UsageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 3))
"""The strengths C of the regression that are tried: the inverse of the L2 penalty, the smallest first."""


@dataclass(frozen=True)
class Strength:
    """A strength of the regression and its AUROC on held-out patients.

    Attributes:
        value: the inverse of the L2 penalty.
        auroc: mean AUROC over the folds; of three or more classes, that of each against the others, averaged.
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
            Weights float64 [F, C] and biases float64 [C], for one logit of two classes, or for one of each class.
        """
        scaler, pca, regression = (self.pipeline[name] for name in ("standardscaler", "pca", "logisticregression"))
        centre = scaler.mean_ / scaler.scale_ + pca.mean_
        slopes = [row @ pca.components_ for row in regression.coef_]  # [C][F], of the standardized features
        biases = [bias - row @ centre for bias, row in zip(regression.intercept_, slopes, strict=True)]
        return np.stack([row / scaler.scale_ for row in slopes], axis=1), np.array(biases)


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
        labels: int [N], from 0 to K - 1.
        groups: [N], the patient of each image.
        pca_components: number of principal components; at most F and at most the number of images of a fold.
        num_folds: number of folds; 2 or more.
        class_weights: weight each class by n / (K n_class), for n images.
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
        reduce, regressions = _steps(pca_components, class_weights, seed)
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
    reduce, regressions = _steps(pca_components, class_weights, seed)
    reduce.steps.append(("logisticregression", regressions[tried.index(best)]))
    return Probe(reduce.fit(features, labels), best, tried)


def _auroc(regression: Any, features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the AUROC of a fitted regression; of three or more classes that of each against the others, averaged."""
    from sklearn.metrics import roc_auc_score

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
        UsageError: some fold would hold out no image of some class.
    """
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


def _steps(pca_components: int, class_weights: bool, seed: int) -> tuple[Pipeline, list[Any]]:
    """Returns a pipeline of standardization and PCA, and a regression for each strength; nothing is fitted."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    balance = "balanced" if class_weights else None
    regressions = [LogisticRegression(C=value, class_weight=balance, max_iter=10000) for value in STRENGTHS]
    return make_pipeline(StandardScaler(), PCA(pca_components, random_state=seed)), regressions
