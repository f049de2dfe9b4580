"""Heat maps are hot where a network finds evidence, in all networks."""

import keras
import numpy as np
import pytest
from PIL import Image

from beam_prep.sources.phantom import phantom
from trainer import models
from trainer.config.train import TrainConfig
from trainer.inference.image_files import as_input
from trainer.models.gradcam import heat_maps


def build(arch: str, image_size: int) -> keras.Model:
    return models.build(TrainConfig(data="d", output="o", arch=arch, weights="none", image_size=image_size))


def see_brightness(model: keras.Model) -> None:
    """Makes each layer the mean over the channels at its own place, so that the network measures brightness alone."""
    for variable in model.variables:
        if variable.path.endswith("kernel"):
            kernel = np.zeros(variable.shape, np.float32)
            *window, channels, _ = variable.shape
            kernel[tuple(side // 2 for side in window)] = 1 / channels
            variable.assign(kernel)


@pytest.mark.parametrize(
    ("arch", "image_size", "map_px"),
    [
        ("baseline_cnn", 48, 15),
        ("vgg19", 32, 4),  # its last map is 2 x 2
        ("vgg19", 96, 6),
        pytest.param("inception_resnet_v2", 90, 8, marks=pytest.mark.slow),  # its last map is 1 x 1
        pytest.param("inception_resnet_v2", 192, 4, marks=pytest.mark.slow),
    ],
)
def test_a_network_that_sees_brightness_is_hot_where_it_is_bright(arch, image_size, map_px):
    model = build(arch, image_size)
    see_brightness(model)
    features_of, _ = models.cut_at_features(model)
    half = image_size // 2
    images = np.zeros((4, image_size, image_size), np.uint8)
    quarters = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for image, (row, column) in zip(images, quarters, strict=True):
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] = 255
    assert features_of(images[..., None].astype(np.float32)).shape[1:3] == (map_px, map_px)
    heats = heat_maps(model, images)
    assert heats.shape == images.shape
    assert heats.dtype == np.float32
    for heat, (row, column) in zip(heats, quarters, strict=True):
        assert (heat.min() >= 0, heat.max()) == (True, 1)
        hottest = np.argwhere(heat > 0.9).mean(axis=0) / half
        assert hottest.astype(int).tolist() == [row, column]


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws phantoms as model inputs, uint8 [N, 48, 48], masks of opacities, bool [N, 48, 48], and labels [N]."""
    rng = np.random.default_rng(0)
    pictures, masks = [], []
    labels = np.arange(360) % 2
    for label in labels:
        pixels, mask = phantom(pneumonia=bool(label), image_px=96, rng=rng)
        pictures.append(as_input(Image.fromarray(pixels), image_size=48, equalization="hist"))
        masks.append(mask[::2, ::2])
    return np.stack(pictures), np.stack(masks), labels


def hits(model: keras.Model, images: np.ndarray, masks: np.ndarray) -> float:
    """Returns the share of images whose hottest place is in an opacity: the pointing game of arXiv:1608.00507."""
    heats = heat_maps(model, images)
    hottest = [np.unravel_index(heat.argmax(), heat.shape) for heat in heats]
    return float(np.mean([mask[place] for mask, place in zip(masks, hottest, strict=True)]))


@pytest.mark.slow
def test_heat_is_in_the_opacity_for_a_model_that_has_learnt_and_not_for_another(drawn):
    images, masks, labels = drawn
    keras.utils.set_random_seed(0)
    model = build("baseline_cnn", 48)
    seen, shown = slice(0, 300), np.flatnonzero(labels)[150:]
    before = heat_maps(model, images[shown])
    assert hits(model, images[shown], masks[shown]) < 0.4
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    model.fit(images[seen, ..., None].astype(np.float32), labels[seen], batch_size=16, epochs=6, verbose=0)
    assert hits(model, images[shown], masks[shown]) >= 0.8
    # Adebayo et al., Sanity Checks for Saliency Maps, 2018: with other weights a map has to be another one.
    after = heat_maps(model, images[shown])
    alike = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(before, after, strict=True)]
    assert np.nanmean(alike) < 0.5


@pytest.mark.parametrize(("arch", "image_size"), [("baseline_cnn", 48), ("se_resnet", 64), ("vgg19", 48)])
def test_both_parts_of_a_cut_network_give_its_own_answer(arch, image_size):
    model = build(arch, image_size)
    images = np.random.default_rng(0).uniform(0, 255, (3, image_size, image_size, 1)).astype(np.float32)
    features_of, logits_of_features = models.cut_at_features(model)
    expected = models.logits_of(model)(images, training=False)
    np.testing.assert_allclose(logits_of_features(features_of(images)), expected, rtol=1e-4, atol=1e-6)


def test_nothing_that_speaks_for_it_is_no_heat():
    model = build("baseline_cnn", 32)
    model.get_layer("logits").kernel.assign(np.zeros((512, 1)))
    assert not heat_maps(model, np.full((2, 32, 32), 200, np.uint8)).any()
    assert heat_maps(model, np.zeros((0, 32, 32), np.uint8)).shape == (0, 32, 32)
