"""Prepares the files that a training reads: copies shards to a local disk and leaves out broken records."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.manifest import Manifest, Shard
from beam_prep.dataset.tfrecord import frame, scan_frames, write_shard
from beam_prep.storage.atomic import move_into_place
from beam_prep.storage.locks import locked
from beam_prep.storage.mirror import default_cache_dir
from beam_prep.storage.paths import NUM_TRANSFERS, list_files, to_readable
from beam_prep.storage.transfer import download, file_sha256
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.splits import SplitSource, first_broken

AT_ONCE = 2 * NUM_TRANSFERS  # shards that are downloaded at once; a job that is killed loses no more than these

Sources = Mapping[str, SplitSource]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A folder for copies of shards.

    Attributes:
        folder: the folder, on this machine.
        flag: flag that asks for the copies, for messages.
        other: flag that names another folder, for messages.
        max_bytes: largest size of all files in the folder, bytes; 0: no limit but the disk.
        show_progress: show a progress bar on stderr.
    """

    folder: str
    flag: str = "--stage_dir"
    other: str = "--stage_dir"
    max_bytes: int = 0
    show_progress: bool = True


@contextmanager
def staged(
    config: TrainConfig, manifest: Manifest, sources: Sources, cluster: Cluster | None = None
) -> Iterator[dict[str, SplitSource]]:
    """Gives the splits as the training reads them, for as long as the block runs.

    Args:
        config: uses `cache`, `cache_dir`, `stage_dir`, `stage_max_bytes`, `shard_files` and `skip_corrupt`.
        manifest: manifest of the dataset.
        sources: splits of the dataset at the image size of the config.
        cluster: workers that train together; None if this process trains alone.

    Raises:
        UsageError: there is no room for the copies, or there are more corrupt records than tolerated.
        RunError: a shard can't be downloaded.
    """
    result, is_chief = dict(sources), not (cluster and cluster.index)
    if config.cache == "ram":
        _check_memory(sources["train"])
    if config.stage_dir is not None:
        # A worker reads all shards in a fold, with validation images, and if it keeps the images in memory.
        reads_all = config.cache in ("ram", "device") or config.division is not None or config.train_on_val
        if cluster and config.shard_files and not reads_all:
            train = sources["train"]
            share = train.shards_of_worker(range(len(train.paths)), cluster.index, len(cluster.workers))
            result["train"] = replace(result["train"], kept=tuple(share))
        result = copy_shards(
            result, manifest, Stage(config.stage_dir, max_bytes=config.stage_max_bytes, show_progress=is_chief)
        )
    elif config.cache == "disk":
        stage = Stage(config.cache_dir or default_cache_dir(), "--cache disk", "--cache_dir", show_progress=is_chief)
        result = copy_shards(result, manifest, stage)
    with tempfile.TemporaryDirectory(prefix="cxrflow-") as rescued:
        if config.skip_corrupt:
            result = {split: _leave_out_broken(source, split, rescued) for split, source in result.items()}
            _check_tolerated(sources, sum(source.num_corrupt for source in result.values()), config.skip_corrupt)
        yield result


def copy_shards_to(folder: str | None, sources: Sources, manifest: Manifest) -> dict[str, SplitSource]:
    """Copies shards into a folder without a limit, see `copy_shards`; without a folder, nothing is copied."""
    return dict(sources) if folder is None else copy_shards(sources, manifest, Stage(folder))


def copy_shards(sources: Sources, manifest: Manifest, stage: Stage) -> dict[str, SplitSource]:
    """Copies the shards that have no copy yet and returns the splits with the paths of the copies.

    A copy gets its name when it is complete and has the digest of the manifest, and its folder is that of one dataset:
    existing copies can be trusted, whichever job made them. A broken shard is not copied, nor is a shard that there is
    no room for. One job at a time makes copies.

    Raises:
        UsageError: there is no room for the copies, or the folder can't be written.
        RunError: a shard can't be downloaded.
    """
    folder = Path(stage.folder, manifest.fingerprint[:16])
    wanted = list(_wanted(sources, manifest))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            for half in folder.glob("size-*/.*"):  # left half made by a job that was killed
                half.unlink()
            missing = [(place, shard) for place, shard in wanted if not (folder / shard.path).exists()]
            chosen = _chosen(missing, stage)
            needed, free = sum(shard.size_bytes for _, shard in chosen), shutil.disk_usage(folder).free
            if needed > free:
                raise OSError(f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB free")
            _copy(chosen, folder, stage.show_progress)
    except RunError:  # an error of the bucket; one of these is an OSError too
        raise
    except OSError as error:
        raise UsageError(
            f"{stage.flag}: {folder}: {error.strerror or error}; name another folder with {stage.other}"
        ) from None
    copies = {place: str(folder / shard.path) for place, shard in wanted if (folder / shard.path).exists()}
    return {
        split: replace(source, paths=tuple(copies.get(place, place) for place in source.paths))
        for split, source in sources.items()
    }


def _wanted(sources: Sources, manifest: Manifest) -> Iterator[tuple[str, Shard]]:
    """Yields the shards that this worker reads with their paths, the most often read first."""
    for split in sorted(sources, key=("val", "train", "test").index):
        source = sources[split]
        shards = manifest.shards(source.image_size, split)
        for index in source.kept if source.kept is not None else range(len(shards)):
            yield source.paths[index], shards[index]


def _chosen(missing: list[tuple[str, Shard]], stage: Stage) -> list[tuple[str, Shard]]:
    """Returns the shards that the size limit leaves room for beside all files that are in the folder already."""
    if not stage.max_bytes:
        return missing
    room = stage.max_bytes - sum(file.size_bytes for file in list_files(Path(stage.folder)))
    chosen = []
    for place, shard in missing:
        if shard.size_bytes <= room:
            room -= shard.size_bytes
            chosen.append((place, shard))
    if left := len(missing) - len(chosen):
        logger.warning("--stage_max_bytes leaves no room for %d of %d shards; they are streamed", left, len(missing))
    return chosen


def _copy(shards: list[tuple[str, Shard]], folder: Path, show_progress: bool) -> None:
    """Copies shards, a few at a time; a copy that has the digest of the manifest is renamed into place."""
    with progress_bar("stage", len(shards), unit="shards", show=show_progress and bool(shards)) as bar:
        for start in range(0, len(shards), AT_ONCE):
            some = shards[start : start + AT_ONCE]
            copies = [folder / shard.path for _, shard in some]
            halves = [copy.with_name(f".{copy.name}") for copy in copies]
            for half in halves:
                half.parent.mkdir(parents=True, exist_ok=True)
            try:
                download([(to_readable(place), half) for (place, _), half in zip(some, halves, strict=True)])
                for (_, shard), half, copy in zip(some, halves, copies, strict=True):
                    if file_sha256(half) == shard.sha256:
                        move_into_place(half, copy)
            finally:
                for half in halves:
                    half.unlink(missing_ok=True)
            bar.update(len(some))


def _leave_out_broken(source: SplitSource, split: str, folder: str) -> SplitSource:
    """Reads all records once and replaces each shard that has broken records by a file of its sound records."""
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
