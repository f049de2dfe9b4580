"""The whole job against the Beam writer of TensorFlow Datasets, doing the same work on the same images.

Run as `python benchmarks/tfds_writer.py`; `make bench` installs tensorflow-datasets. Both decode, equalize and resize
by this project's functions, write records of the same pixels at 90 and 224 px and run on Beam's runner of one process.
What is compared is how the records get into their shards: the peer sends all bytes through a shuffle. Each is a process
of its own; the peer neither looks for duplicates nor splits by patient.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from prepare_job import ONE, Cost, job, run_measured
from radiographs import write_radiographs

NUM_IMAGES = 1000
ROUNDS = 3
SIZES = (90, 224)


def write_with_tfds(images: str, output: str) -> None:
    """The peer's job, in this process."""
    import apache_beam as beam
    import numpy as np
    import tensorflow_datasets as tfds

    from beam_prep.images.decode import decode
    from beam_prep.images.pyramid import Pyramid

    def example(path: str) -> tuple[str, dict]:
        pyramid = Pyramid(decode(Path(path).read_bytes()), "hist")
        pixels = {f"image_{size}": np.asarray(pyramid.resize(size))[..., None] for size in SIZES}
        return path, {**pixels, "label": int("PNEUMONIA" in path), "filename": os.path.relpath(path, images)}

    shapes = {f"image_{size}": tfds.features.Tensor(shape=(size, size, 1), dtype=np.uint8) for size in SIZES}
    builder = tfds.dataset_builders.AdhocBuilder(
        name="radiographs",
        version="1.0.0",
        features=tfds.features.FeaturesDict({**shapes, "label": np.int64, "filename": tfds.features.Text()}),
        split_datasets={"train": beam.Create(list(map(str, Path(images).rglob("*.jpeg")))) | beam.Map(example)},
        data_dir=output,
    )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_runner="FnApiRunner"))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        images, output = Path(temporary, "images"), Path(temporary, "tfds")
        write_radiographs(images, NUM_IMAGES)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(job(images, ONE))
            theirs.append(run_measured([sys.executable, __file__, str(images), str(output)]))
            shutil.rmtree(output)
        for name, costs in (("ours", ours), ("TensorFlow Datasets", theirs)):
            cpu, wall, peak = (statistics.median(values) for values in zip(*costs, strict=True))
            print(f"{name:20} {cpu:6.1f} s CPU {wall:6.1f} s {peak:5.0f} MiB, {NUM_IMAGES} images")
        for what in Cost._fields:
            ratio = statistics.median(
                getattr(other, what) / getattr(own, what) for own, other in zip(ours, theirs, strict=True)
            )
            print(f"TensorFlow Datasets / ours, {what}: {ratio:.2f} (wanted: more than 1)")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_with_tfds(*sys.argv[1:])
    else:
        main()
