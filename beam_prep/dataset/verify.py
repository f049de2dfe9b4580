"""Compares every shard of a dataset with the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import TFDS_NAMES, Manifest, Shard
from beam_prep.dataset.record_checks import find_problems
from beam_prep.dataset.schema import ABSENT, PRESENT
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.storage.mirror import local_copy
from beam_prep.storage.paths import AnyPath, list_files
from beam_prep.storage.transfer import file_sha256

Counts = Counter[tuple[str, str, int]]
"""The number of records by domain, class and its value: present, absent or unknown."""


def find_differences(dataset: AnyPath, progress: Callable[[Collection[Shard]], Iterable[Shard]] = iter) -> list[str]:
    """Finds where the shards of a dataset differ from its manifest.

    All shards are read: their digests, record counts and checksums, the size and labels of every record, the counts of
    the classes and domains, and that no patient is in two splits.

    Args:
        dataset: the folder.
        progress: wraps the shards, to show a progress bar.

    Returns:
        A line for every difference; empty if the dataset is sound.

    Raises:
        UsageError: the folder has no manifest.
    """
    manifest = Manifest.read(dataset)
    shards = [
        (int(size), split, shard)
        for size, by_split in manifest.sizes.items()
        for split, listed in by_split.items()
        for shard in listed
    ]
    place = {shard.path: (size, split) for size, split, shard in shards}
    class_counts: dict[tuple[int, str], Counts] = {}
    groups: dict[str, set[str]] = {}
    differences: list[str] = []
    for shard in progress([shard for _, _, shard in shards]):
        size, split = place[shard.path]
        counts = class_counts.setdefault((size, split), Counter())
        differences += _check_shard(dataset, shard, size, counts, groups.setdefault(split, set()), manifest)
    for (size, split), counts in class_counts.items():
        for words, expected, values in (
            ("classes", manifest.splits[split].class_counts, (PRESENT,)),
            ("known labels", manifest.splits[split].known_counts or {}, (PRESENT, ABSENT)),
        ):
            found = dict.fromkeys(expected, 0)
            for (_, name, value), count in counts.items():
                if name in found and value in values:
                    found[name] += count
            if found != expected:
                differences.append(f"size {size}, {split}: expected {words} {expected}, found {found}")
        for domain, by_split in manifest.domains.items():
            expected = by_split.get(split, {})
            found = {name: counts[domain, name, PRESENT] for name in expected}
            if found != expected:
                differences.append(f"size {size}, {split}, domain {domain}: expected {expected}, found {found}")
    splits = sorted(groups)
    for index, one in enumerate(splits):
        for other in splits[index + 1 :]:
            if shared := groups[one] & groups[other]:
                differences.append(f"{len(shared)} patient groups are both in {one} and {other}, such as {min(shared)}")
    differences += _unlisted_shards(dataset, set(place))
    return differences


def _check_shard(
    dataset: AnyPath, shard: Shard, size: int, counts: Counts, groups: set[str], manifest: Manifest
) -> Iterator[str]:
    path = dataset / shard.path
    if not path.is_file():
        yield f"{shard.path}: missing"
        return
    with local_copy(path) as copy:
        yield from _check_file(copy, shard, size, counts, groups, manifest)


def _check_file(
    file: Path, shard: Shard, size: int, counts: Counts, groups: set[str], manifest: Manifest
) -> Iterator[str]:
    sha256 = file_sha256(file)
    if sha256 != shard.sha256:
        yield f"{shard.path}: expected SHA-256 {shard.sha256[:12]}…, found {sha256[:12]}…"
    num_records = 0
    try:
        for data in read_frames(file):
            record = from_example(data)
            num_records += 1
            groups.add(record.group)
            if len(record.labels) == len(record.label_mask) == len(manifest.class_names):
                values = zip(manifest.class_names, record.vector, strict=True)
                counts.update((record.domain, name, value) for name, value in values)
            for problem in find_problems(record, size, manifest):
                yield f"{shard.path}: record {num_records - 1}{problem}"
    except ValueError as error:
        yield f"{shard.path}: record {num_records}: {str(error).removeprefix(f'{file}: ')}"
    if num_records != shard.num_records:
        yield f"{shard.path}: expected {shard.num_records} records, found {num_records}"


def _unlisted_shards(dataset: AnyPath, listed: set[str]) -> Iterator[str]:
    for name in sorted(name for name, *_ in list_files(dataset)):
        if fnmatch(name, "size-*/*") and name not in listed and name.rpartition("/")[2] not in TFDS_NAMES:
            yield f"{name}: not in the manifest"
