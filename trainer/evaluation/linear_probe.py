"""A linear probe: features in, PCA and logistic regression, one linear layer out (numpy and scikit-learn)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.console.errors import UsageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 3))
"""Of the regression, the inverse of its L2 penalty (scikit-learn's C): the least first."""


@dataclass(frozen=True)
class Strength:
    """A strength, tried on patients who were held out.

    Attributes:
        value: the inverse of the penalty.
        auroc: mean over the folds.
        auroc_sd: standard deviation over the folds.
    """

    value: float
    auroc: float
    auroc_sd: float


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        pipeline: standardization, PCA, logistic regression; fitted on all images.
        best: the strength that it was fitted with.
        tried: all of them.
    """

    pipeline: Pipeline
    best: Strength
    tried: tuple[Strength, ...]

    @property
    def explained_variance(self) -> float:
        """Share of the variance of the standardized features that the components hold."""
        return float(self.pipeline["pca"].explained_variance_ratio_.sum())

    def folded(self) -> tuple[np.ndarray, float]:
        """The three steps as one linear layer: weights float64 [F] and bias, features to logits."""
        scaler, pca, regression = (self.pipeline[name] for name in ("standardscaler", "pca", "logisticregression"))
        slopes = regression.coef_[0] @ pca.components_  # [F], of the standardized features
        centre = scaler.mean_ / scaler.scale_ + pca.mean_
        return slopes / scaler.scale_, float(regression.intercept_[0] - slopes @ centre)


def check_components(pca_components: int, *, num_features: int, num_images: int) -> None:
    """Raises a `UsageError` unless features and images have so many components."""
    if pca_components > min(num_features, num_images):
        raise UsageError(
            f"--pca_components is {pca_components}, of {num_features} features of {num_images} images to fit on; "
            f"give at most {min(num_features, num_images)}"
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
    """Chooses the strength by patient folds, then fits on all images.

    In each fold everything is fitted anew, standardization and PCA too, on those who are not held out.

    Args:
        features: float [N, F].
        labels: int [N].
        groups: [N], the patient of each image.
        pca_components: how many; at most F, and the images that are fitted on.
        num_folds: 2 or more.
        class_weights: weigh the classes against each other: n / (2 n_class).
        seed: of the folds, and of the PCA where that is drawn at random.
        on_fold: called after each fold.

    Raises:
        UsageError: too many components, or too few patients for the folds.

    Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016 (arXiv:1610.01644).
    """
    from sklearn.metrics import roc_auc_score

    folds = patient_folds(labels, groups, num_folds, seed)
    smallest = min(len(fitted) for fitted, _ in folds)
    check_components(pca_components, num_features=features.shape[1], num_images=smallest)
    scores = []  # [folds][strengths]
    for fitted, held_out in folds:
        reduce, regressions = _steps(pca_components, class_weights, seed)
        seen = reduce.fit_transform(features[fitted])
        unseen = reduce.transform(features[held_out])
        scores.append(
            [
                roc_auc_score(labels[held_out], regression.fit(seen, labels[fitted]).decision_function(unseen))
                for regression in regressions
            ]
        )
        on_fold()
    tried = tuple(
        Strength(value, float(np.mean(of_folds)), float(np.std(of_folds, ddof=1)))
        for value, of_folds in zip(STRENGTHS, np.transpose(scores), strict=True)
    )
    best = max(tried, key=lambda strength: strength.auroc)  # of equal ones the most penalized
    reduce, regressions = _steps(pca_components, class_weights, seed)
    reduce.steps.append(("logisticregression", regressions[tried.index(best)]))
    return Probe(reduce.fit(features, labels), best, tried)


def patient_folds(
    labels: np.ndarray, groups: Sequence[str] | np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of the images to fit on and of those held out, by fold; no patient is in both.

    Raises:
        UsageError: some fold would hold out one class only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    patients = np.asarray(groups)
    fewest = min(len(np.unique(patients[labels == label])) for label in (0, 1))
    if fewest >= num_folds:
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        folds = list(splitter.split(labels, labels, patients))
        if all(len(np.unique(labels[held_out])) == 2 for _, held_out in folds):
            return folds
    raise UsageError(
        f"--folds is {num_folds}; the training images are of {fewest} patients of one class, too few to have some in "
        "each fold; give fewer"
    )


def _steps(pca_components: int, class_weights: bool, seed: int) -> tuple[Pipeline, list[Any]]:
    """Standardization and PCA, and after them the regression at each strength; none is fitted."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    balance = "balanced" if class_weights else None
    regressions = [LogisticRegression(C=value, class_weight=balance, max_iter=10000) for value in STRENGTHS]
    return make_pipeline(StandardScaler(), PCA(pca_components, random_state=seed)), regressions
