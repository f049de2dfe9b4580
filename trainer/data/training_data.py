"""Defines the data of a training: its images, the class weights, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from beam_prep.dataset.manifest import Manifest
from trainer.config.fold import Fold
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.checks import check_fold
from trainer.data.folds import POOLED, FoldSplits, divide, pool
from trainer.data.sampling import balanced_draws
from trainer.data.splits import SplitSource, add_counts, join
from trainer.data.tf_dataset import load_into_memory, read_index, training_batches


class TrainingData:
    """The images that a training reads, in batches.

    Args:
        config: flags of the training.
        manifest: manifest of the dataset.
        sources: splits of the dataset at the image size of the config.
        cluster: the workers that train together; None where one process trains alone.

    Attributes:
        sources: all splits; train and val are those of the fold if the config names one.
        source: the training images.
        loss_weights: class weights of the training loss, float [2], by label.
        class_weights: class weights of the validation loss, float [2], by label; balanced draws train for them too.
        num_steps: number of training steps in an epoch.

    Raises:
        UsageError: the fold can't be trained or validated on.
        RunError: the records can't be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest,
        sources: Mapping[str, SplitSource],
        cluster: Cluster | None = None,
    ) -> None:
        self._config = config
        self._fold = open_fold(Fold.parse(config.fold), config.data, manifest, sources) if config.fold else None
        if self._fold:
            check_fold(self._fold, config.global_batch_size, config.threshold_rule)
        self.sources = self._fold.sources if self._fold else dict(sources)
        self._trained_on = POOLED if config.train_on_val else ("train",)
        self.source = join([self.sources[split] for split in self._trained_on])
        splits = self._fold.splits if self._fold else manifest.splits
        weights = add_counts([splits[split] for split in self._trained_on]).class_weights
        balanced, even = config.sampler == "balanced", [1.0] * len(manifest.class_names)
        weighed = [weights[name] or 0.0 for name in manifest.class_names]
        self.class_weights = weighed if config.class_weights or balanced else even
        self.loss_weights = even if balanced else self.class_weights
        self._worker, self._num_workers = (cluster.index, len(cluster.workers)) if cluster else (0, 1)
        self.num_steps = self.source.steps_per_epoch(
            config.global_batch_size, self._num_workers, shard_files=config.shard_files
        )
        self._labels = read_index(self.source).labels if balanced else None
        self._in_memory = load_into_memory(self.source) if config.cache == "ram" else None

    def batches(self, epoch: int, first_step: int) -> tf.data.Dataset:
        """Returns the batches of an epoch from a step on (both counted from 0), see `training_batches`."""
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
            in_memory=self._in_memory,
            draws=self._draws(epoch),
        )

    def _draws(self, epoch: int) -> np.ndarray | None:
        if self._labels is None:
            return None
        num_draws = self.num_steps * self._config.global_batch_size
        return balanced_draws(self._labels, num_draws, seed=self._config.seed, epoch=epoch)

    def describe(self) -> dict[str, Any]:
        """Returns the entries for `model.json`; a fold trains on images of both splits that it divides."""
        return {
            "num_corrupt": {split: source.num_corrupt for split, source in self.sources.items()},
            "trained_on": list(POOLED if self._fold else self._trained_on),
            "fold": self._fold and self._fold.to_json(),
        }


def open_fold(fold: Fold, data: str, manifest: Manifest, sources: Mapping[str, SplitSource]) -> FoldSplits:
    """Reads the records of train and validation and divides them into the splits of a fold, see `divide`.

    Raises:
        UsageError: see `divide`.
        RunError: the records can't be read.
    """
    return divide(fold, data, manifest, sources, read_index(pool(sources)))
