"""Opens a prepared dataset for programs: its manifest, and its images and labels as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from beam_prep.console.escapes import html_table
from beam_prep.dataset.example_proto import Record, from_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.storage.paths import AnyPath, to_path

if TYPE_CHECKING:
    import numpy as np


class Arrays(NamedTuple):
    """The images of a split with their labels, in the order of the records.

    Attributes:
        images: uint8 [N, size, size], from black to white.
        labels: int64 [N], the index of the class in `Dataset.info.class_names`; for the multilabel task int64 [N, K],
            1 for a finding that is present, 0 for one that is absent, -1 for one that is not known.
        groups: the hash of the patient of each image, text [N].
        filenames: the path of the raw image of each image, or its hash in an anonymous dataset, text [N].
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    filenames: np.ndarray


@dataclass(frozen=True)
class Samples:
    """The images of a split as a sequence, such as PyTorch's `DataLoader` takes it; PyTorch itself is not needed.

    Attributes:
        arrays: the images and labels.
    """

    arrays: Arrays

    def __len__(self) -> int:
        return len(self.arrays.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image, float32 [1, size, size] from 0 to 1, and its label, int64 [] or [K]."""
        import numpy as np

        image = self.arrays.images[index][None].astype(np.float32) / np.float32(255)
        return image, np.asarray(self.arrays.labels[index])


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        path: its folder, on this machine or in a bucket.
        info: its manifest: counts, class names, options, shards.
    """

    path: AnyPath
    info: Manifest

    def records(self, split: str = "train", image_px: int | None = None) -> Iterator[Record]:
        """Yields the records of a split in order; both checksums of each are checked.

        Args:
            split: `train`, `val` or `test`.
            image_px: one of the sizes of the dataset, px; by default the smallest.

        Raises:
            UsageError: the dataset does not hold this size.
            BrokenRecord: a shard is damaged.
        """
        for shard in self.info.shards(image_px or self.info.image_sizes[0], split):
            for data in read_frames(self.path / shard.path):
                yield from_example(data)

    def to_numpy(self, split: str = "train", image_px: int | None = None) -> Arrays:
        """Reads a split into memory; for the arguments and errors, see `records`."""
        import numpy as np

        from beam_prep.images.decode import decode_record

        records = list(self.records(split, image_px))
        size = image_px or self.info.image_sizes[0]
        images = np.empty((len(records), size, size), np.uint8)
        for place, record in enumerate(records):
            images[place] = decode_record(
                record.encoded, encoding=record.encoding, height=record.height, width=record.width
            )
        is_multilabel = self.info.labels.is_multilabel
        labels = [record.vector if is_multilabel else record.label for record in records]
        shape = (len(records), len(self.info.class_names)) if is_multilabel else (len(records),)
        texts = [np.array([getattr(each, name) for each in records], str) for name in ("group", "filename")]
        return Arrays(images, np.array(labels, np.int64).reshape(shape), *texts)

    def torch(self, split: str = "train", image_px: int | None = None) -> Samples:
        """Reads a split into memory as a data set of PyTorch's `DataLoader`; for the arguments, see `records`."""
        return Samples(self.to_numpy(split, image_px))

    def _repr_html_(self) -> str:
        """Returns the counts of the splits as a table, which notebooks show."""
        names = self.info.class_names
        rows = []
        for name, split in self.info.splits.items():
            counts: list[Any] = [split.class_counts[each] for each in names]
            rows.append([name, *(f"{count:,}" for count in (*counts, split.num_records, split.num_groups))])
        sizes = ", ".join(map(str, self.info.image_sizes))
        caption = f"{self.path}, {self.info.task}, {sizes} px"
        return html_table(caption, ["split", *names, "images", "patients"], rows)


def open_dataset(path: str) -> Dataset:
    """Opens a dataset that `prepare` wrote, on this machine or in a bucket.

    Raises:
        UsageError: there is no dataset, or its manifest is damaged.
    """
    place = to_path(path)
    return Dataset(place, Manifest.read(place))
