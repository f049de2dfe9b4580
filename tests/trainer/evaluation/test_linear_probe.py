"""A linear probe against the steps of scikit-learn that it is made of."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from beam_prep.console.errors import UsageError
from trainer.evaluation.linear_probe import STRENGTHS, check_components, fit_probe, patient_folds

NUM_IMAGES, NUM_FEATURES = 120, 12


def images(seed=0):
    """Draws features of very different scales: two depend on the class, one is constant; two images a patient."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(np.arange(NUM_IMAGES // 2) % 3 > 0), 2).astype(int)
    features = rng.standard_normal((NUM_IMAGES, NUM_FEATURES))
    features[:, :2] += 1.2 * labels[:, None]
    features = features * 10.0 ** np.arange(-6, NUM_FEATURES - 6) + 40
    features[:, 5] = 7
    return features, labels, np.array([f"patient {i // 2}" for i in range(NUM_IMAGES)])


def fitted(**changes):
    options = {"pca_components": 6, "num_folds": 4, "class_weights": True, "seed": 0}
    return fit_probe(*images(), **{**options, **changes})


def test_one_linear_layer_says_what_the_three_steps_say():
    probe = fitted()
    features, _, _ = images(seed=1)
    weights, biases = probe.folded()
    assert (features @ weights + biases)[:, 0] == pytest.approx(probe.pipeline.decision_function(features), abs=1e-6)
    assert list(probe.pipeline.named_steps) == ["standardscaler", "pca", "logisticregression"]


def test_strengths_are_compared_on_patients_of_whom_nothing_was_seen_by_any_step():
    features, labels, groups = images()
    probe = fitted()
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    for strength, value in zip(probe.tried, STRENGTHS, strict=True):
        regression = LogisticRegression(C=value, class_weight="balanced", max_iter=10000)
        pipeline = make_pipeline(StandardScaler(), PCA(6, random_state=0), regression)
        scores = cross_val_score(pipeline, features, labels, groups=groups, cv=folds, scoring="roc_auc")
        assert strength.auroc == pytest.approx(scores.mean(), abs=1e-6)
        assert strength.auroc_sd == pytest.approx(scores.std(ddof=1), abs=1e-6)
    assert probe.best.auroc == max(strength.auroc for strength in probe.tried)
    assert probe.best.value == probe.pipeline["logisticregression"].C


def test_no_patient_is_on_both_sides_and_each_is_held_out_once():
    _, labels, groups = images()
    folds = patient_folds(labels, groups, 4, seed=3)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(NUM_IMAGES))
    for seen, held_out in folds:
        assert not {*groups[seen]} & {*groups[held_out]}
        assert {*labels[held_out]} == {0, 1}


def test_classes_are_weighed_against_each_other_unless_it_is_off():
    features, labels, _ = images()
    weighed, not_weighed = fitted(), fitted(class_weights=False)
    mean = {probe: probe.pipeline.predict_proba(features)[:, 1].mean() for probe in (weighed, not_weighed)}
    assert mean[not_weighed] == pytest.approx(labels.mean(), abs=0.01), "two thirds are of class 1"
    assert mean[weighed] < mean[not_weighed]


def test_more_components_than_there_can_be_are_refused_in_one_line():
    with pytest.raises(
        UsageError, match=r"--pca_components is 13, but there are 12 features and 90 images to fit on; give at most 12"
    ):
        fitted(pca_components=13)
    with pytest.raises(UsageError, match="give at most 99"):
        check_components(100, num_features=512, num_images=99)


def test_folds_that_the_patients_do_not_fill_are_refused():
    labels = np.array([0, 0, 1, 1, 1, 1])
    groups = np.array(["a", "a", "b", "c", "d", "e"])
    with pytest.raises(UsageError, match="--folds is 2, but only 1 patients of one class have training images"):
        patient_folds(labels, groups, 2, seed=0)


def findings():
    """Draws two findings that depend on a feature each and are not known of some images, and one of no image."""
    features, labels, groups = images()
    other = np.repeat(np.random.default_rng(2).permutation(np.arange(NUM_IMAGES // 2) % 4 == 0), 2).astype(int)
    features[:, 3] += 3 * features[:, 3].std() * other
    labels = np.stack([labels, other, np.zeros_like(labels)], axis=1)
    labels[::7, 0], labels[:40, 1] = -1, -1
    return features, labels, groups


def test_each_finding_has_a_regression_on_the_images_where_it_is_known():
    features, labels, groups = findings()
    probe = fit_probe(features, labels, groups, pca_components=6, num_folds=2, class_weights=True, seed=0)
    weights, biases = probe.folded()
    logits = features @ weights + biases
    reduced = probe.pipeline[:2].transform(features)
    for at in (0, 1):
        known = labels[:, at] >= 0
        alone = LogisticRegression(C=probe.best.value, class_weight="balanced", max_iter=10000)
        alone.fit(reduced[known], labels[known, at])
        assert logits[:, at] == pytest.approx(alone.decision_function(reduced), abs=1e-3)
    assert logits[:, 2] == pytest.approx(np.full(NUM_IMAGES, np.log(0.5 / 120.5)))
    assert probe.best.auroc > 0.75


def test_folds_of_findings_divide_patients_and_hold_each_finding_in_proportion():
    _, labels, groups = findings()
    folds = patient_folds(labels, groups, 4, seed=3)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(NUM_IMAGES))
    for seen, held_out in folds:
        assert not {*groups[seen]} & {*groups[held_out]}
        for of_finding in labels.T:
            assert abs(np.sum(of_finding[held_out] == 1) - np.sum(of_finding == 1) / 4) <= 2
    with pytest.raises(UsageError, match="--folds is 9, but the training images of 4 patients are too few"):
        patient_folds(labels[:8], groups[:8], 9, seed=0)
