"""The splits of a dataset as the manifest lists them, checked before any work starts. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import MANIFEST_NAME, Manifest, Split
from beam_prep.dataset.tfrecord import BrokenRecord, scan_frames, size_folder
from beam_prep.storage.paths import ReadablePath, list_files, to_readable
from beam_prep.storage.tfio import CREDENTIALS, StreamedPath
from trainer.config.quiet_start import quiet_start


@dataclass(frozen=True)
class SplitSource:
    """One split of a dataset at one image size.

    Attributes:
        paths: of its shards, in order.
        shard_records: how many records each of them holds, of those that are selected.
        image_size: px.
        encoding: of the records, `raw` or `png`.
        num_corrupt: records that were left out because they are broken.
        kept: indices of the shards that this worker trains on, of those that it would share with others else; None is
            no such choice.
        selected: for each shard, which of its records are read; None: all of them.
    """

    paths: tuple[str, ...]
    shard_records: tuple[int, ...]
    image_size: int
    encoding: str
    num_corrupt: int = 0
    kept: tuple[int, ...] | None = None
    selected: tuple[tuple[bool, ...], ...] | None = None

    @property
    def num_records(self) -> int:
        """In all shards."""
        return sum(self.shard_records)

    def select(self, wanted: Sequence[bool]) -> SplitSource:
        """Some of the records of a source of which all are read.

        Args:
            wanted: [num_records], in the order of the shards.
        """
        edges = accumulate(self.shard_records, initial=0)
        selected = tuple(tuple(wanted[start:end]) for start, end in pairwise(edges))
        return replace(self, shard_records=tuple(map(sum, selected)), selected=selected)

    def steps_per_epoch(self, batch_size: int, num_workers: int = 1, *, shard_files: bool = False) -> int:
        """How many global batches an epoch has: the same number for every worker and in every epoch.

        Args:
            batch_size: global batch; the workers divide it.
            num_workers: who share it.
            shard_files: each worker reads files of its own, which change with the epoch.
        """
        if not shard_files:
            return self.num_records // batch_size
        least = sum(sorted(self.shard_records, reverse=True)[num_workers - 1 :: num_workers])  # see `deal`
        return least // (batch_size // num_workers)

    def deal(self, shards: Sequence[int], worker: int, num_workers: int) -> list[int]:
        """The shards of a worker that reads files of its own, in the order in which they are given.

        Of each `num_workers` that are next in size every worker gets one: all have about as many records, though the
        shards of train are longer than those of val.
        """
        by_size = sorted(range(len(shards)), key=lambda place: -self.shard_records[shards[place]])
        return [shards[place] for place in sorted(by_size[worker::num_workers])]


def read_manifest(data: str) -> Manifest:
    """As `Manifest.read`; where TensorFlow is what reads the dataset, it loads quietly."""
    place = to_readable(data)
    if isinstance(place, StreamedPath):
        with quiet_start():
            place.load()
        if not (place / MANIFEST_NAME).is_file():
            raise UsageError(
                f"{data}: expected a dataset (a folder with {MANIFEST_NAME}), found none, or none that may be read "
                f"(which looks the same from here); check the path, and {CREDENTIALS}"
            )
    return Manifest.read(data)


def open_split(data: str, manifest: Manifest, image_size: int, split: str, *, allow_cut: bool = False) -> SplitSource:
    """Looks a split up in the manifest.

    Args:
        data: the dataset folder.
        manifest: its own.
        image_size: px.
        split: which.
        allow_cut: shards of another length than the manifest says are taken, for `staging` to leave out what is broken.

    Raises:
        UsageError: the size is not in the dataset, or a shard is missing or has another length than the manifest says.
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
                f"python -m beam_prep verify {data}"
            )
    return SplitSource(
        paths=tuple(str(place / shard.path) for shard in shards),
        shard_records=tuple(shard.num_records for shard in shards),
        image_size=image_size,
        encoding=manifest.options["encoding"],
    )


def join(sources: Sequence[SplitSource]) -> SplitSource:
    """Splits of one dataset, at one size, as one."""
    return replace(
        sources[0],
        paths=tuple(path for source in sources for path in source.paths),
        shard_records=tuple(count for source in sources for count in source.shard_records),
        num_corrupt=sum(source.num_corrupt for source in sources),
    )


def pooled(splits: Sequence[Split]) -> Split:
    """The counts of splits as those of one, with the class weights of that."""
    counts = {name: sum(split.class_counts[name] for split in splits) for name in splits[0].class_counts}
    return Split.from_counts(counts, sum(split.num_groups for split in splits))


def first_broken(paths: Iterable[str | ReadablePath]) -> BrokenRecord | None:
    """The first record of some shards that can't be trusted; None if all are sound."""
    return next((record for path in paths for record in scan_frames(path) if isinstance(record, BrokenRecord)), None)
