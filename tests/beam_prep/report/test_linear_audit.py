"""The linear model on small records."""

import numpy as np
import pytest
from dataset_files import make_manifest

from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.tfrecord import frame, write_shard
from beam_prep.report.linear_audit import linear_aurocs


def dataset_of(folder, images: list[tuple[int, np.ndarray]]) -> Manifest:
    frames = [
        frame(to_example(Record(pixels.tobytes(), "raw", 40, 40, label, f"{i}", f"{i}", f"g{i}")))
        for i, (label, pixels) in enumerate(images)
    ]
    shard = write_shard(folder, "size-40/train-00000-of-00001.tfrecord", frames)
    split = Split.from_counts({"NORMAL": 1, "PNEUMONIA": 1}, 1)
    return make_manifest(splits={"train": split}, sizes={"40": {"train": [shard]}})


@pytest.mark.parametrize(("step", "low", "high"), [(0, 0.35, 0.65), (25, 0.95, 1.0)])
def test_a_linear_model_finds_a_brighter_corner_and_nothing_in_noise(tmp_path, step, low, high):
    rng = np.random.default_rng(0)
    images = []
    for index in range(160):
        pixels = rng.normal(120, 20, (40, 40))
        pixels[:8, :8] += step * (index % 2)
        images.append((index % 2, pixels.clip(0, 255).astype(np.uint8)))
    manifest = dataset_of(tmp_path, images)
    (found,) = linear_aurocs(tmp_path, manifest).values()
    assert low <= found <= high


def test_too_few_images_or_unreadable_shards_give_none(tmp_path):
    manifest = dataset_of(tmp_path, [(index % 2, np.zeros((40, 40), np.uint8)) for index in range(30)])
    assert linear_aurocs(tmp_path, manifest) == {"PNEUMONIA": None}
    (tmp_path / "size-40/train-00000-of-00001.tfrecord").write_bytes(b"broken")
    assert linear_aurocs(tmp_path, manifest) == {}
