"""Trains a model from end to end. All that can be wrong is checked before TensorFlow loads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from beam_prep.storage.locks import exclusive
from trainer.config.quiet_start import quiet_start
from trainer.config.tf_config import Cluster, find_cluster
from trainer.config.train import TrainConfig
from trainer.data.checks import (
    check_threshold_rule,
    check_trainable,
)
from trainer.data.splits import open_split, read_manifest
from trainer.data.staging import staged
from trainer.run.continuation import check_continuation
from trainer.run.folder import RunFolder, check_run_output
from trainer.run.identity import job_of


def train(config: TrainConfig) -> tuple[RunFolder, dict[str, Any]] | None:
    """Trains, evaluates and reports; goes on with an unfinished run of the same job.

    Returns:
        The run folder and the content of `metrics.json`; None in a worker that is not the chief and writes nothing.

    Raises:
        UsageError: TF_CONFIG, the dataset, the output folder, the devices or the weights are not what they should be;
            nothing was written.
        RunError: the training failed, or another one writes to the folder.
        Terminated: it was asked to stop, and has saved what it had.
    """
    cluster = find_cluster(config.strategy)
    config.check_replicas(len(cluster.workers) if cluster else 1)
    manifest = read_manifest(config.data)
    sources = {
        split: open_split(config.data, manifest, config.image_size, split, allow_cut=config.skip_corrupt > 0)
        for split in manifest.splits
        if config.evaluate_test or split != "test"
    }
    if config.fold is None:  # a fold is looked at when its records are known
        check_trainable(manifest.splits, config.batch_size)
        check_threshold_rule(manifest.splits, config.threshold_rule)
    with _sole_writer(config.output, cluster):
        check_run_output(config.output, job_of(config.to_json(), manifest.fingerprint), overwrite=config.overwrite)
        check_continuation(config, manifest.fingerprint)
        with staged(config, manifest, sources, cluster) as staged_sources:
            with quiet_start():
                from trainer.report.publish import publish
                from trainer.report.samples import read_samples
                from trainer.training.tf_errors import translate_errors
                from trainer.training.trainer import Training
            num_workers = len(cluster.workers) if cluster else 1
            with translate_errors(config.batch_size, max(config.num_replicas, 1) * num_workers, cluster):
                training = Training(config, manifest, staged_sources)
                training.run()
                evaluations = training.evaluate()
                samples = read_samples(evaluations, training.sources, training.model)
        if not training.is_chief:
            return None
        numbers = publish(training.folder, evaluations, samples)
        training.folder.finish(keep_checkpoint=config.keep_checkpoint)
        training.folder.push()
        return training.folder, numbers


def _sole_writer(output: str, cluster: Cluster | None) -> AbstractContextManager[None]:
    """The chief keeps other jobs out of the run folder; other workers write nothing."""
    return nullcontext() if cluster and cluster.index else exclusive(RunFolder.at(output).path)
