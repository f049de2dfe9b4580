"""Opens the splits of a dataset as its manifest lists them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from shlex import quote
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import MANIFEST_NAME, Manifest, Split
from beam_prep.dataset.schema import BINARY, CLASS_NAMES, MULTILABEL
from beam_prep.dataset.sharding import size_folder
from beam_prep.dataset.tfrecord import BrokenRecord, scan_frames
from beam_prep.storage.paths import ReadablePath, is_streamed, list_files, to_readable
from beam_prep.storage.tfio import CREDENTIALS
from trainer.config.quiet_start import quiet_start


@dataclass(frozen=True)
class SplitSource:
    """The records of a split at one image size.

    Attributes:
        paths: paths of the shards, in order.
        shard_records: number of selected records in each shard.
        image_size: side of the images, px.
        encoding: encoding of the images, `raw` or `png`.
        num_corrupt: number of broken records that were left out.
        kept: indices of the only shards that this worker trains on; None if it shares all shards with the others.
        selected: for each shard, True for each record that is read; None if all records are read.
        task: what the labels of an image are, one of `schema.TASKS`.
        class_names: the names of the classes, or of the findings of a multilabel dataset, by label.
    """

    paths: tuple[str, ...]
    shard_records: tuple[int, ...]
    image_size: int
    encoding: str
    num_corrupt: int = 0
    kept: tuple[int, ...] | None = None
    selected: tuple[tuple[bool, ...], ...] | None = None
    task: str = BINARY
    class_names: tuple[str, ...] = CLASS_NAMES

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of the label of one image: a number, or one for each finding."""
        return (len(self.class_names),) if self.task == MULTILABEL else ()

    @property
    def num_records(self) -> int:
        """The number of selected records in all shards."""
        return sum(self.shard_records)

    def select(self, wanted: Sequence[bool]) -> SplitSource:
        """Returns a source of some of the records; no selection may have been made before.

        Args:
            wanted: True for each record to read, in the order of the shards, [num_records].
        """
        edges = accumulate(self.shard_records, initial=0)
        selected = tuple(tuple(wanted[start:end]) for start, end in pairwise(edges))
        return replace(self, shard_records=tuple(map(sum, selected)), selected=selected)

    def steps_per_epoch(self, batch_size: int, num_workers: int = 1, *, shard_files: bool = False) -> int:
        """Returns the number of global batches in an epoch, the same for every worker and every epoch.

        Args:
            batch_size: global batch size, a multiple of the number of workers.
            num_workers: number of workers that share a batch.
            shard_files: True if each worker reads files of its own, which change with the epoch.
        """
        if not shard_files:
            return self.num_records // batch_size
        least = sum(sorted(self.shard_records, reverse=True)[num_workers - 1 :: num_workers])  # see `shards_of_worker`
        return least // (batch_size // num_workers)

    def shards_of_worker(self, shards: Sequence[int], worker: int, num_workers: int) -> list[int]:
        """Returns the shards of a worker that reads files of its own, in the order of `shards`.

        Sorted by size, every worker gets one of each `num_workers` shards. So all have about as many records, although
        the shards of train are longer than the shards of val.
        """
        by_size = sorted(range(len(shards)), key=lambda place: -self.shard_records[shards[place]])
        return [shards[place] for place in sorted(by_size[worker::num_workers])]


def read_manifest(data: str) -> Manifest:
    """Reads the manifest of a dataset, see `Manifest.read`; TensorFlow loads quietly if it has to read the dataset."""
    place = to_readable(data)
    if is_streamed(place):
        with quiet_start():
            place.load()
        if not (place / MANIFEST_NAME).is_file():
            raise UsageError(
                f"{data}: expected a dataset (a folder with {MANIFEST_NAME}), found none, or none that may be read "
                f"(which looks the same from here); check the path, and {CREDENTIALS}"
            )
    return Manifest.read(data)


def open_split(data: str, manifest: Manifest, image_size: int, split: str, *, allow_cut: bool = False) -> SplitSource:
    """Opens a split of a dataset and checks that its shards are as long as the manifest says.

    Args:
        data: the dataset folder.
        manifest: manifest of the dataset.
        image_size: side of the images, px.
        split: name of the split.
        allow_cut: accept shards of another length; `staging` leaves out their broken records.

    Raises:
        UsageError: the dataset has no such image size, or a shard is missing or has another length.
    """
    shards = manifest.shards(image_size, split)
    place = to_readable(data)
    sizes = {file.name: file.size_bytes for file in list_files(place / size_folder(image_size))}
    for shard in shards:
        path, size = place / shard.path, sizes.get(shard.path.rpartition("/")[2])
        if size != shard.size_bytes and not (allow_cut and size is not None):
            found = "no file" if size is None else f"{size} bytes"
            broken = first_broken([path]) if size is not None else None
            raise UsageError(
                f"{broken or path}: expected {shard.size_bytes} bytes, found {found}; the dataset is broken, see: "
                f"cxrflow verify {quote(str(data))}"
            )
    return SplitSource(
        paths=tuple(str(place / shard.path) for shard in shards),
        shard_records=tuple(shard.num_records for shard in shards),
        image_size=image_size,
        encoding=manifest.options["encoding"],
        task=manifest.task,
        class_names=manifest.class_names,
    )


def join(sources: Sequence[SplitSource]) -> SplitSource:
    """Joins splits of a dataset at one image size to one source."""
    return replace(
        sources[0],
        paths=tuple(path for source in sources for path in source.paths),
        shard_records=tuple(count for source in sources for count in source.shard_records),
        num_corrupt=sum(source.num_corrupt for source in sources),
    )


def add_counts(splits: Sequence[Split]) -> Split:
    """Adds up the counts of splits and returns them as one split, with its class weights."""

    def total(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
        return {name: sum(each[name] for each in counts) for name in counts[0]}

    present, num_groups = total([split.class_counts for split in splits]), sum(split.num_groups for split in splits)
    known = [split.known_counts for split in splits if split.known_counts is not None]
    if not known:
        return Split.from_counts(present, num_groups)
    num_records = sum(split.num_records for split in splits)
    return Split.from_findings(present, total(known), num_records=num_records, num_groups=num_groups)


def class_weights_of(split: Split, *, even: bool = False) -> list[Any]:
    """Returns the weights of the losses by label, 1 if they are to be even.

    Args:
        split: the images that are trained on.
        even: True weighs all images alike.

    Returns:
        float [K]; for findings [K, 2], those of the absent and of the present. Each is that of `Split.class_weights`
        (an absent finding counts as a present one does); 0 for a class without images.
    """
    if split.known_counts is None:
        return [1.0 if even else weight or 0.0 for weight in split.class_weights.values()]
    pairs = []
    for name, known in split.known_counts.items():
        present = split.class_counts[name]
        pairs.append([1.0 if even else known / (2 * n) if n else 0.0 for n in (known - present, present)])
    return pairs


def first_broken(paths: Iterable[str | ReadablePath]) -> BrokenRecord | None:
    """Returns the first broken record of some shards; None if all records are sound."""
    return next((record for path in paths for record in scan_frames(path) if isinstance(record, BrokenRecord)), None)
