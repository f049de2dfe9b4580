"""Which files a training reads: those of the dataset, copies on a local disk, or what is left of broken ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beam_prep.errors import UsageError
from beam_prep.manifest import Manifest, Shard
from beam_prep.shards import file_sha256, frame, scan_frames, write_shard
from trainer.config import TrainConfig
from trainer.inputs import SplitSource, first_broken

Sources = Mapping[str, SplitSource]


@contextmanager
def staged(config: TrainConfig, manifest: Manifest, sources: Sources) -> Iterator[dict[str, SplitSource]]:
    """The splits as the training reads them, for as long as the block runs.

    Args:
        config: `cache`, `cache_dir` and `skip_corrupt` of it.
        manifest: of the dataset.
        sources: its splits at the size of the config.

    Raises:
        UsageError: no room for the copies, or more corrupt records than are tolerated.
    """
    result = dict(sources)
    if config.cache == "ram":
        _check_memory(sources["train"])
    if config.cache == "disk":
        folder = Path(config.cache_dir or default_cache_dir(), manifest.fingerprint[:16])
        shards = {split: manifest.shards(config.image_size, split) for split in sources}
        result = {split: _copy_shards(source, shards[split], folder) for split, source in result.items()}
    with tempfile.TemporaryDirectory(prefix="cxrflow-") as rescued:
        if config.skip_corrupt:
            result = {split: _leave_out_broken(source, split, rescued) for split, source in result.items()}
            _check_tolerated(sources, sum(source.num_corrupt for source in result.values()), config.skip_corrupt)
        yield result


def default_cache_dir() -> str:
    """`cxrflow` in the user's folder for caches."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cxrflow"))


def _copy_shards(source: SplitSource, shards: list[Shard], folder: Path) -> SplitSource:
    """Takes the copies of the shards that are there, and makes the others.

    A copy has its name only when it is whole and has the digest of the manifest, and the folder is that of one
    dataset: what is there can be trusted, whichever job made it. A broken shard is not copied.
    """
    try:
        missing = [shard.size_bytes for shard in shards if not (folder / shard.path).exists()]
        folder.mkdir(parents=True, exist_ok=True)
        if sum(missing) > shutil.disk_usage(folder).free:
            raise OSError(f"{sum(missing) / 1e9:.2f} GB are needed, {shutil.disk_usage(folder).free / 1e9:.2f} GB free")
        copies = [
            str(folder / shard.path) if _copy(path, shard, folder / shard.path) else path
            for path, shard in zip(source.paths, shards, strict=True)
        ]
    except OSError as error:
        raise UsageError(
            f"--cache disk: {folder}: {error.strerror or error}; name another folder with --cache_dir"
        ) from None
    return replace(source, paths=tuple(copies))


def _copy(path: str, shard: Shard, copy: Path) -> bool:
    """Copies a shard by rename unless it is there; whether there is a copy now."""
    if copy.exists():
        return True
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_name(f".{copy.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        shutil.copyfile(path, temporary)
        if file_sha256(temporary) != shard.sha256:
            return False
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, copy)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _leave_out_broken(source: SplitSource, split: str, folder: str) -> SplitSource:
    """Reads all records once; a shard with broken ones is replaced by a file of those that are sound."""
    paths, counts = list(source.paths), list(source.shard_records)
    for index, (path, num_records) in enumerate(zip(source.paths, source.shard_records, strict=True)):
        sound = sum(isinstance(record, bytes) for record in scan_frames(path))
        if sound < num_records:
            frames = (frame(record) for record in scan_frames(path) if isinstance(record, bytes))
            rest = write_shard(folder, f"{split}-{index:05d}.tfrecord", frames)
            paths[index], counts[index] = str(Path(folder, rest.path)), rest.num_records
    return replace(
        source, paths=tuple(paths), shard_records=tuple(counts), num_corrupt=source.num_records - sum(counts)
    )


def _check_tolerated(sources: Sources, num_corrupt: int, tolerated: int) -> None:
    if num_corrupt > tolerated:
        first = first_broken([path for source in sources.values() for path in source.paths])
        raise UsageError(
            f"{num_corrupt} records are corrupt or missing, --skip_corrupt tolerates {tolerated}"
            f"{f'; the first: {first}' if first else ''}; prepare the dataset again"
        )


def _check_memory(source: SplitSource) -> None:
    needed = source.num_records * source.image_size**2
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 2 * needed > there:
        raise UsageError(
            f"--cache ram: the training images are {needed / 1e9:.1f} GB, expected at most half of the memory, which "
            f"is {there / 1e9:.1f} GB; try --cache disk"
        )
