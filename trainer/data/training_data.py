"""Defines the data of a training: its images, the class weights, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.sharding import size_folder
from beam_prep.storage.paths import to_readable
from trainer.config.fold import Fold
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.checks import check_fold
from trainer.data.folds import POOLED, FoldSplits, divide, pool
from trainer.data.held_images import HeldImages, device_room_bytes
from trainer.data.sampling import balanced_draws, pair_shares, strata_of, weights_of_draws
from trainer.data.splits import SplitSource, add_counts, class_weights_of, join
from trainer.data.tf_dataset import hold, read_index, training_batches


class TrainingData:
    """The images that a training reads, in batches.

    Args:
        config: flags of the training.
        manifest: manifest of the dataset.
        sources: splits of the dataset at the image size of the config.
        strategy: any strategy; images may be held on its devices.
        cluster: the workers that train together; None where one process trains alone.

    Attributes:
        strategy: the strategy.
        held: the training images, if they are kept between epochs; None if every epoch reads them.
        sources: all splits; train and val are those of the fold if the config names one.
        source: the training images.
        val: the images that are validated on; None if there are none, or if they are trained on.
        loss_weights: class weights of the training loss, see `class_weights_of`.
        class_weights: class weights of the validation loss; balanced draws train for them too, see `weights_of_draws`.
        num_steps: number of training steps in an epoch.

    Raises:
        UsageError: the fold can't be trained or validated on, or the images do not fit where they are to be kept.
        RunError: the records can't be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest,
        sources: Mapping[str, SplitSource],
        strategy: tf.distribute.Strategy,
        cluster: Cluster | None = None,
    ) -> None:
        self._config = config
        self.strategy = strategy
        self._manifest = manifest
        self._fold = open_fold(config.division, config.data, manifest, sources) if config.division else None
        if self._fold:
            check_fold(self._fold, config.global_batch_size, config.threshold_rule, config.select_by)
        self.sources = self._fold.sources if self._fold else dict(sources)
        self._trained_on = POOLED if config.train_on_val else ("train",)
        self.val = None if config.train_on_val else self.sources.get("val")
        self.source = join([self.sources[split] for split in self._trained_on])
        splits = self._fold.splits if self._fold else manifest.splits
        counts, balanced = add_counts([splits[split] for split in self._trained_on]), config.sampler == "balanced"
        is_weighed = config.class_weights or balanced
        labels = read_index(self.source).labels if balanced else []
        self.class_weights = (
            weights_of_draws(labels)
            if balanced and manifest.labels.is_multilabel
            else class_weights_of(counts, even=not is_weighed)
        )
        self.loss_weights = class_weights_of(counts, even=balanced or not is_weighed)
        self._worker, self._num_workers = (cluster.index, len(cluster.workers)) if cluster else (0, 1)
        self.num_steps = self.source.steps_per_epoch(
            config.global_batch_size, self._num_workers, shard_files=config.shard_files
        )
        num_draws = self.num_steps * config.global_batch_size
        strata = strata_of(labels)
        self._draws = (
            partial(balanced_draws, strata, int(strata.max()) + 1, num_draws, config.seed) if balanced else None
        )
        parts = self._num_workers if config.shard_files else 1  # a worker with files of its own pairs its own images
        num_replicas, batch_size = strategy.num_replicas_in_sync // parts, config.global_batch_size // parts
        self._shares = pair_shares(batch_size, num_replicas) if config.mixup_alpha and num_replicas > 1 else None
        self.held = hold_images(config, self.source, strategy)

    def check_unchanged(self) -> None:
        """Checks that the dataset is still the one that the training began with, if its shards are read where they lie.

        Raises:
            RunError: the dataset was replaced by another one.
        """
        data = self._config.data
        folder = str(to_readable(data) / size_folder(self.source.image_size))
        if self.held or not all(path.startswith(folder) for path in self.source.paths):
            return
        try:
            fingerprint = Manifest.read(data).fingerprint
        except UsageError:  # removed: reading the shards says so
            return
        if fingerprint != self._manifest.fingerprint:
            raise RunError(
                f"{data}: the dataset was replaced during the training (its fingerprint was "
                f"{self._manifest.fingerprint[:12]}…, found {fingerprint[:12]}…); bring the old one back to resume, or "
                "train anew with --overwrite"
            )

    def batches(
        self, epoch: int, first_step: int, held: HeldImages | None = None, num_epochs: int = 1
    ) -> tf.data.Dataset:
        """Returns the batches of an epoch from a step on (both counted from 0), see `training_batches`.

        Raises:
            RunError: see `check_unchanged`.
        """
        self.check_unchanged()
        return training_batches(
            self.source,
            batch_size=self._config.global_batch_size,
            seed=self._config.seed,
            epoch=epoch,
            first_step=first_step,
            worker=self._worker,
            num_workers=self._num_workers,
            shard_files=self._config.shard_files,
            deterministic=self._config.deterministic,
            held=held,
            num_epochs=num_epochs,
            draws=self._draws,
            shares=self._shares,
        )

    def describe(self) -> dict[str, Any]:
        """Returns the entries for `model.json`; a fold trains on images of both splits that it divides."""
        return {
            "equalization": self._manifest.options["equalization"],
            "fit": self._manifest.options.get("fit"),
            "class_names": self._manifest.class_names,
            "task": self._manifest.task,
            "dataset_fingerprint": self._manifest.fingerprint,
            "num_corrupt": {split: source.num_corrupt for split, source in self.sources.items()},
            "trained_on": list(POOLED if self._fold else self._trained_on),
            "fold": self._fold and self._fold.to_json(),
        }


def hold_images(config: TrainConfig, source: SplitSource, strategy: tf.distribute.Strategy) -> HeldImages | None:
    """Reads a split and keeps its images where `--cache` says; returns None if they are to be read in every epoch.

    With `auto` they are kept on the devices if they fit; not if each worker is to read files of its own.

    Raises:
        UsageError: the images do not fit on the devices, but are wanted there.
        RunError: the records can't be read.
    """
    size_bytes = source.num_records * source.image_size**2
    on_device = config.cache == "device" or (config.cache == "auto" and not config.shard_files)
    if on_device and size_bytes > (room_bytes := device_room_bytes(max(config.num_replicas, 1))):
        if config.cache == "device":
            raise UsageError(
                f"--cache device: the images are {size_bytes / 1e9:.2f} GB, found room for {room_bytes / 1e9:.2f} GB: "
                "a quarter of the memory of the device (without a GPU, of the free memory, and 1 GiB at most for all "
                "replicas; 0 where its driver does not tell); try --cache ram, or --cache auto, which streams them"
            )
        on_device = False
    if not on_device and config.cache != "ram":
        return None
    return hold(source, strategy if on_device else None)


def open_fold(fold: Fold, data: str, manifest: Manifest, sources: Mapping[str, SplitSource]) -> FoldSplits:
    """Reads the records of the splits that a fold divides, and divides them, see `divide`.

    Raises:
        UsageError: see `divide`.
        RunError: the records can't be read.
    """
    return divide(fold, data, manifest, sources, read_index(pool(sources, fold.divides)))
