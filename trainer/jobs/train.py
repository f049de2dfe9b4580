"""Trains a model from end to end. All that can be wrong is checked before TensorFlow loads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from beam_prep.console.progress import say
from beam_prep.storage.locks import exclusive
from trainer.config.presets import read_preset
from trainer.config.quiet_start import quiet_start
from trainer.config.tf_config import Cluster, find_cluster
from trainer.config.train import TrainConfig
from trainer.data.checks import (
    check_preparation,
    check_selection,
    check_task,
    check_threshold_rule,
    check_trainable,
    settings_left_out,
    warn_of_missing,
)
from trainer.data.splits import open_split, read_manifest
from trainer.data.staging import staged
from trainer.external.sets import ExternalSet, check_external, open_external_sets
from trainer.jobs.batch_size import batch_fits, keep_batch_size, settle_batch_size
from trainer.node_gpus import check_gpus
from trainer.run.console_lines import header
from trainer.run.continuation import check_continuation
from trainer.run.folder import RunFolder
from trainer.run.identity import job_of
from trainer.run.output import check_run_output
from trainer.tracking.content import files_of, metrics_of, params_of, tags_of
from trainer.tracking.tracker import Tracker

if TYPE_CHECKING:
    from beam_prep.dataset.manifest import Manifest
    from trainer.evaluation.evaluate import Evaluation
    from trainer.training.trainer import Trainer
    from trainer.training.validation import TrainedModel


def train(config: TrainConfig) -> tuple[RunFolder, dict[str, Any]] | None:
    """Trains a model, evaluates it and writes its report; resumes an unfinished run of the same job.

    Returns:
        The run folder and the content of `metrics.json`; None in a worker other than the chief, which writes nothing.

    Raises:
        UsageError: TF_CONFIG, the dataset, the output folder, the devices or the weights are wrong; nothing was
            written.
        RunError: the training failed, another job writes to the folder, or the GPUs of the pod can't be used.
        Terminated: the training was asked to stop, and has saved its state.
    """
    cluster = find_cluster(config.strategy)
    config = keep_batch_size(config)
    num_workers = len(cluster.workers) if cluster else 1
    config.check_workers(num_workers)
    config.check_replicas(num_workers)
    manifest = read_manifest(config.data)
    check_preparation(config, manifest)
    tracker = Tracker.of(None if cluster and cluster.index else config.track, config.track_uri, config.output)
    preset = read_preset(config.preset).values if config.preset else {}
    config = replace(config, **settings_left_out(preset, config.to_json(), manifest.task))
    check_task(
        manifest,
        threshold_rule=config.threshold_rule,
        prevalence=config.prevalence,
        select_by=config.select_by,
    )
    sources = {
        split: open_split(config.data, manifest, config.image_size, split, allow_cut=config.skip_corrupt > 0)
        for split in manifest.splits
        if config.evaluate_test or split != "test"
    }
    if config.division is None:  # the splits of a fold are checked when its records are known
        check_trainable(manifest.splits, config.global_batch_size)
        check_threshold_rule(manifest.splits, config.threshold_rule)
        check_selection(manifest.splits, config.select_by)
        warn_of_missing(manifest.splits)
    external = open_external_sets(config, manifest)
    fingerprints = {each.name: each.manifest.fingerprint for each in external}
    job = job_of(config.to_json(), manifest.fingerprint, fingerprints)
    with _sole_writer(config.output, cluster), tracker:
        output = check_run_output(config.output, job, overwrite=config.overwrite)
        check_continuation(config, manifest.fingerprint)
        with staged(config, manifest, sources, cluster) as staged_sources:
            with quiet_start(show=not (cluster and cluster.index)):
                from trainer.report.publish import publish
                from trainer.report.samples import read_samples
                from trainer.training.strategy import count_replicas
                from trainer.training.tf_errors import translate_errors
                from trainer.training.trainer import Trainer
            if gpus := check_gpus():
                say(gpus)
            if external:
                check_external(external, staged_sources)
            config = settle_batch_size(config, cluster, manifest)
            output = replace(output, job=job_of(config.to_json(), manifest.fingerprint, fingerprints))
            fits = None if cluster else partial(batch_fits, config, labels=manifest.labels)
            num_replicas = count_replicas(config, cluster)
            step = config.batch_step(num_replicas)
            with translate_errors(config.global_batch_size, num_replicas, cluster, fits, batch_step=step):
                trainer = Trainer(
                    *(config, manifest, staged_sources, output),
                    cluster=cluster,
                    external=external,
                    on_epoch=tracker.add_epochs,
                )
                _introduce(trainer)
                _begin_tracking(tracker, trainer, manifest)
                trained = trainer.run()
                evaluations = _evaluate(trainer, trained)
                val = next((each for each in evaluations if each.split == "val"), None)
                transfers = [_evaluate_external(trainer, trained, each, val) for each in external]
                samples = read_samples(
                    evaluations, trainer.sources, trainer.model, shows_pictures=manifest.shows_pictures
                )
        if not trainer.is_chief:
            return None
        numbers = publish(trainer.folder, evaluations, samples, external=transfers, speed=trainer.speed())
        _finish_tracking(tracker, trainer, numbers)
        trainer.folder.finish(keep_checkpoint=config.keep_checkpoint)
        trainer.folder.push()
        return trainer.folder, numbers


def _introduce(trainer: Trainer) -> None:
    """Says on the console what is about to be trained, on what device and where to."""
    if not trainer.is_chief:
        return
    config, computation = trainer.config, trainer.computation
    lines = header(
        device=computation.device,
        precision=computation.precision,
        is_compiled=computation.jit_compile,
        num_replicas=trainer.strategy.num_replicas_in_sync,
        arch=config.arch,
        num_parameters=trainer.model.count_params(),
        image_px=config.image_size,
        batch_size=config.global_batch_size,
        num_images={split: source.num_records for split, source in trainer.sources.items()},
        output=config.output,
    )
    say("\n".join(lines))


def _begin_tracking(tracker: Tracker, trainer: Trainer, manifest: Manifest) -> None:
    """Tells the service of `--track`, if there is one, what is about to be trained."""
    if not tracker.is_on:
        return
    from trainer.run.provenance import software
    from trainer.training.phases import phases_of

    first = phases_of(trainer.config)[0]
    params = params_of(
        trainer.config.to_json(),
        learning_rate=first.learning_rate,
        optimizer=first.optimizer,
        num_replicas=trainer.strategy.num_replicas_in_sync,
        num_parameters=trainer.model.count_params(),
        task=manifest.task,
    )
    tracker.begin(params, tags_of(manifest.fingerprint, software(), "cxrflow train"))


def _finish_tracking(tracker: Tracker, trainer: Trainer, numbers: Mapping[str, Any]) -> None:
    """Tells the service of `--track`, if there is one, the results of a training with its model."""
    if not tracker.is_on:
        return
    from trainer.run.provenance import software
    from trainer.tracking.mlflow_model import model_files

    folder, shapes = trainer.folder, (trainer.model.input_shape, trainer.model.output_shape)
    with TemporaryDirectory() as temporary:
        model = model_files(folder.model, Path(temporary), shapes=shapes, software=software())
        params = params_of({}, **trainer.computation.choices)
        tracker.finish(metrics_of(numbers), {**files_of(folder), **model}, params)


def _evaluate(trainer: Trainer, trained: TrainedModel) -> list[Evaluation]:
    """Evaluates a trained model on test (if there is one and it is wanted) and on validation (unless trained on)."""
    from trainer.evaluation.evaluate import measure, predict_split

    config, predicted = trainer.config, {}
    if config.evaluate_test and (test := trainer.sources["test"]).num_records:
        predicted["test"] = predict_split(trained.predictor, test, "test", show_progress=trainer.is_chief)
    if trained.val is not None:
        predicted["val"] = trained.val
    return [
        measure(predictions, split, point=trained.operating_point, prevalence=config.prevalence)
        for split, predictions in predicted.items()
    ]


def _evaluate_external(
    trainer: Trainer, trained: TrainedModel, external: ExternalSet, val: Evaluation | None
) -> Evaluation:
    """Evaluates a trained model on a set of another source, and compares it with validation."""
    from trainer.evaluation.evaluate import measure, predict_split
    from trainer.external.transfer import with_transfer

    predictions = predict_split(trained.predictor, external.source, external.name, show_progress=trainer.is_chief)
    evaluation = measure(
        predictions, external.name, point=trained.operating_point, prevalence=trainer.config.prevalence
    )
    return with_transfer(
        evaluation, val, name=external.name, role=external.role, dataset_fingerprint=external.manifest.fingerprint
    )


def _sole_writer(output: str, cluster: Cluster | None) -> AbstractContextManager[None]:
    """Keeps other jobs out of the run folder while the block runs; workers other than the chief write nothing."""
    return nullcontext() if cluster and cluster.index else exclusive(RunFolder.at(output).path)
