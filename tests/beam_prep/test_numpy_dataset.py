"""A dataset opens for programs: manifest, arrays, samples for PyTorch, a table for notebooks; no TensorFlow loads."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rooms import ROOT

import beam_prep
import trainer
from beam_prep import Dataset, open_dataset
from beam_prep.console.errors import UsageError
from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import ABSENT, MULTILABEL, NO_CLASS, PRESENT, UNKNOWN
from beam_prep.dataset.tfrecord import frame, write_shard

OLD = ROOT / "tests/fixtures/before_rooms/dataset"


def test_a_split_as_arrays():
    dataset = open_dataset(str(OLD))
    split = dataset.info.splits["train"]
    images, labels, groups, filenames = dataset.to_numpy("train")
    size = dataset.info.image_sizes[0]
    assert (images.shape, images.dtype) == ((split.num_records, size, size), np.uint8)
    assert dict(zip(dataset.info.class_names, np.bincount(labels).tolist(), strict=True)) == split.class_counts
    assert len(set(groups)) == split.num_groups
    mean = dataset.info.pixels[str(size)]["mean"]
    assert images.mean() == pytest.approx(mean, abs=1e-6), "the pixels that the manifest tells of"
    assert sorted(set(filenames)) == sorted(filenames)


def test_samples_are_a_sequence_for_pytorch():
    dataset = open_dataset(str(OLD))
    samples, arrays = dataset.torch("val"), dataset.to_numpy("val")
    assert len(samples) == dataset.info.splits["val"].num_records
    image, label = samples[1]
    assert (image.dtype, image.shape, label.shape) == (np.float32, (1, *arrays.images.shape[1:]), ())
    assert np.array_equal(np.round(image[0] * 255).astype(np.uint8), arrays.images[1])
    assert label == arrays.labels[1]


def test_findings_are_rows_of_labels(tmp_path):
    vectors = [(PRESENT, ABSENT, UNKNOWN), (ABSENT, ABSENT, PRESENT)]
    common = {"encoded": bytes(range(16)), "encoding": "raw", "height": 4, "width": 4, "label": NO_CLASS}
    records = [
        Record.of_vector(vector, **common, filename=f"{place}.png", source_id="0", group="a")
        for place, vector in enumerate(vectors)
    ]
    names = ("Edema", "Mass", "Nodule")
    shard = write_shard(tmp_path, "size-4/train-0", [frame(to_example(record, names)) for record in records])
    manifest = replace(Manifest.read(OLD), class_names=names, task=MULTILABEL, sizes={"4": {"train": [shard]}})
    arrays = Dataset(tmp_path, manifest).to_numpy("train")
    assert arrays.labels.tolist() == [[1, 0, -1], [0, 0, 1]]
    assert arrays.images[1].tolist() == np.arange(16).reshape(4, 4).tolist()


def test_a_notebook_shows_the_counts_of_a_dataset():
    page = open_dataset(str(OLD))._repr_html_()
    assert '<th scope="col">PNEUMONIA</th>' in page
    assert '<th scope="row">train</th>' in page
    assert str(OLD) in page


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(UsageError, match="make one with: cxrflow prepare"):
        open_dataset(str(tmp_path))
    with pytest.raises(UsageError, match="77 px is not in the dataset"):
        open_dataset(str(OLD)).to_numpy("train", 77)


def test_the_public_names_exist_and_load_when_they_are_used():
    for package in (beam_prep, trainer):
        assert set(package.__all__) <= set(dir(package))
    assert {"PrepConfig", "prepare", "open_dataset"} <= set(beam_prep.__all__)
    assert {"TrainConfig", "train", "evaluate", "Predictor"} <= set(trainer.__all__)
    with pytest.raises(AttributeError, match="trainer has no attribute no_such_name"):
        trainer.no_such_name  # noqa: B018
    code = (
        "import sys\n"
        "from trainer import EvaluateConfig, Predictor, TrainConfig, evaluate, train\n"
        "from beam_prep import Dataset, PrepConfig, open_dataset, prepare\n"
        f"open_dataset({str(OLD)!r}).to_numpy('test')\n"
        "print({'tensorflow', 'keras', 'apache_beam'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
