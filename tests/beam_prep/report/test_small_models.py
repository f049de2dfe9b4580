"""The small models on small records: a logistic regression, and a convolutional network by NumPy."""

import numpy as np
import pytest
from dataset_files import make_manifest

from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.tfrecord import frame, write_shard
from beam_prep.planning.shortcut_audit import auroc
from beam_prep.report.small_models import small_model_aurocs
from beam_prep.report.tiny_cnn import TinyCnn


def dataset_of(folder, images: list[tuple[int, np.ndarray]]) -> Manifest:
    frames = [
        frame(to_example(Record(pixels.tobytes(), "raw", 40, 40, label, f"{i}", f"{i}", f"g{i}")))
        for i, (label, pixels) in enumerate(images)
    ]
    shard = write_shard(folder, "size-40/train-00000-of-00001.tfrecord", frames)
    split = Split.from_counts({"NORMAL": 1, "PNEUMONIA": 1}, 1)
    return make_manifest(splits={"train": split}, sizes={"40": {"train": [shard]}})


def with_corner(step: int) -> list[tuple[int, np.ndarray]]:
    """Draws noise; in every second image the corner is brighter."""
    rng = np.random.default_rng(0)
    images = []
    for index in range(160):
        pixels = rng.normal(120, 20, (40, 40))
        pixels[:8, :8] += step * (index % 2)
        images.append((index % 2, pixels.clip(0, 255).astype(np.uint8)))
    return images


@pytest.mark.parametrize(("step", "low", "high"), [(0, 0.35, 0.65), (25, 0.95, 1.0)])
def test_both_models_find_a_brighter_corner_and_nothing_in_noise(tmp_path, step, low, high):
    (found,) = small_model_aurocs(tmp_path, dataset_of(tmp_path, with_corner(step))).values()
    assert low <= found.linear <= high
    assert low <= found.cnn <= high


def test_the_network_finds_a_shape_that_may_be_anywhere_and_does_so_again():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(0, 0.5, (320, 32, 32)).astype(np.float32), np.arange(320) % 2
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(0, 24, 2)
        image[row : row + 8, column : column + 8] += 3 * label * np.repeat([1, -1], 4)[:, None]  # as grey as the rest
    logits, again = (TinyCnn.fit(images[:160], labels[:160, None]).logits(images[160:])[:, 0] for _ in range(2))
    assert logits.tolist() == again.tolist()
    assert auroc(logits[::2].tolist(), logits[1::2].tolist()) > 0.9


def test_the_gradients_are_those_of_the_cross_entropy_of_the_known_labels():
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((6, 16, 16)), np.array([[0, 1], [1, -1], [-1, 0], [1, 1], [0, 0], [1, 0]])
    drawn = TinyCnn.fit(images[:2].astype(np.float32), labels[:2])
    network = TinyCnn([w.astype(float) for w in drawn.weights], [b.astype(float) + 0.1 for b in drawn.biases])

    def loss() -> float:
        logits, known = network.logits(images), labels >= 0
        return float((np.log1p(np.exp(logits)) - labels * logits)[known].mean())

    for values, gradient in zip([*network.weights, *network.biases], network.gradients(images, labels), strict=True):
        assert values.shape == gradient.shape
        for place in rng.integers(0, values.size, 4):
            before = values.flat[place]
            both = []
            for step in (1e-5, -1e-5):
                values.flat[place] = before + step
                both.append(loss())
            values.flat[place] = before
            assert gradient.flat[place] == pytest.approx((both[0] - both[1]) / 2e-5, abs=1e-6)


def test_too_few_images_or_unreadable_shards_give_none(tmp_path):
    manifest = dataset_of(tmp_path, [(index % 2, np.zeros((40, 40), np.uint8)) for index in range(30)])
    assert small_model_aurocs(tmp_path, manifest) == {"PNEUMONIA": None}
    (tmp_path / "size-40/train-00000-of-00001.tfrecord").write_bytes(b"broken")
    assert small_model_aurocs(tmp_path, manifest) == {}
