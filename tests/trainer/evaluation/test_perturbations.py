"""The perturbations of images that robustness is measured with."""

import numpy as np
import pytest

from trainer.evaluation.perturbations import perturb, perturbations_for

KINDS = {
    "Equalized again", "Not equalized", "Gamma, not equalized", "Brightest burnt out", "Darkest drowned",
    "Noise, sd of 255", "JPEG quality", "Rotation", "Crop of the sides", "Resized from",
}  # fmt: skip
NAMES = ["a/1.jpeg", "a/2.jpeg", "b/1.jpeg"]


@pytest.fixture
def images():
    """Draws three smooth images with a flat histogram, uint8 [3, 32, 32, 1]."""
    rng = np.random.default_rng(0)
    waves = np.cumsum(np.cumsum(rng.standard_normal((3, 32 * 32)), axis=1).reshape(3, 32, 32), axis=1)
    ranks = waves.reshape(3, -1).argsort(axis=1).argsort(axis=1)
    return (ranks * 256 // 1024).astype(np.uint8).reshape(3, 32, 32, 1)


def changed(images, perturbation, names=NAMES, equalization="hist", seed=0):
    return perturb(images, names, perturbation, equalization=equalization, seed=seed)


def of_kind(kind, equalization="hist"):
    return [each for each in perturbations_for(equalization) if each.kind == kind]


def test_every_kind_gives_images_as_the_model_takes_them(images):
    assert {each.kind for each in perturbations_for("hist")} == KINDS
    for equalization, left_out in (
        ("hist", set()),
        ("clahe", {"Not equalized"}),
        ("none", {"Not equalized", "Equalized again"}),
    ):
        found = perturbations_for(equalization)
        assert {each.kind for each in found} == KINDS - left_out
        for perturbation in found:
            perturbed = changed(images, perturbation, equalization=equalization)
            assert (perturbed.shape, perturbed.dtype) == (images.shape, np.uint8)


def test_an_image_is_changed_alike_in_any_batch_and_any_other_run(images):
    for perturbation in perturbations_for("hist"):
        whole = changed(images, perturbation)
        alone = [changed(images[[i]], perturbation, [NAMES[i]])[0] for i in (2, 0, 1)]
        assert np.array_equal(whole[[2, 0, 1]], alone)
    (noise, *_) = of_kind("Noise, sd of 255")
    assert not np.array_equal(changed(images, noise), changed(images, noise, seed=1))
    assert not np.array_equal(changed(images[[0]], noise, ["x"]), changed(images[[0]], noise, ["y"]))


@pytest.mark.parametrize("kind", sorted(KINDS - {"Equalized again", "Gamma, not equalized"}))
def test_the_next_level_changes_more(images, kind):
    by_level = [np.abs(changed(images, level).astype(int) - images).mean() for level in of_kind(kind)]
    assert by_level == sorted(by_level)
    assert 0 < by_level[0] < by_level[-1]


def test_images_are_equalized_again_where_the_preparation_would_see_them(images):
    (again,) = of_kind("Equalized again")
    assert np.abs(changed(images, again).astype(int) - images).max() <= 4, "they are equalized already"
    for perturbation in perturbations_for("hist"):
        perturbed = changed(images, perturbation)
        if perturbation.equalized_again:
            assert np.median(perturbed) == pytest.approx(127, abs=4) or perturbation.kind == "Brightest burnt out"
            assert perturbed.max() == 255


def test_images_that_are_not_equalized_have_the_histogram_of_raw_ones(images):
    raw, low = of_kind("Not equalized")
    assert np.percentile(changed(images, raw), [10, 50, 90]) == pytest.approx([30, 135, 191], abs=2)
    assert changed(images, low).std() == pytest.approx(changed(images, raw).std() / 2, abs=1)


def test_a_window_that_is_cut_loses_its_end(images):
    for kind, end in (("Brightest burnt out", 255), ("Darkest drowned", 0)):
        for level, share in zip(of_kind(kind), (0.1, 0.25), strict=True):
            cut = changed(images, level, equalization="none")
            assert np.mean(cut == end) == pytest.approx(share, abs=0.01)
