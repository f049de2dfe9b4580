"""Runs one training job, or one evaluation, from end to end. What can be wrong is checked before TensorFlow loads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.storage.locks import exclusive
from trainer.config.commands import EvaluateConfig
from trainer.config.quiet_start import quiet_start
from trainer.config.tf_config import Cluster, find_cluster
from trainer.config.train import TrainConfig
from trainer.data.checks import (
    check_filled,
    check_held_out,
    check_same_preprocessing,
    check_threshold_rule,
    check_trainable,
)
from trainer.data.folds import POOLED
from trainer.data.splits import SplitSource, open_split, read_manifest
from trainer.data.staging import copied_to, staged
from trainer.evaluation.thresholds import choose_threshold, fit_operating_point
from trainer.jobs import together
from trainer.run.continuation import check_continuation
from trainer.run.folder import RunFolder, check_output
from trainer.run.identity import job_of
from trainer.run.model_card import ModelCard, OperatingPoint

if TYPE_CHECKING:
    from trainer.evaluation.evaluate import Evaluation
    from trainer.report.samples import Sample

MODEL = ("model.keras", "model.json")
"""What of a run is needed to use it."""

RESULTS = ("*.json", "*.csv", "report.html", "evaluations/")
"""What a run found out."""


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
        check_output(config.output, job_of(config.to_json(), manifest.fingerprint), overwrite=config.overwrite)
        check_continuation(config, manifest.fingerprint)
        with staged(config, manifest, sources, cluster) as staged_sources:
            with quiet_start():
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


def evaluate(config: EvaluateConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Evaluates a finished run, or several as one, on a split.

    Returns:
        The folder that was written (of the run, or `--output`; below its `evaluations/` if the dataset is another one
        than was trained on), and the content of `metrics.json` there.

    Raises:
        UsageError: no run, no dataset, an empty split, or a dataset of another image size or equalization; runs that
            do not belong together, or an output folder that holds something else.
        RunError: the records can't be read.
    """
    runs = [RunFolder.at(run).fetch(*RESULTS, *MODEL) for run in config.run]
    cards = [ModelCard.read(run) for run in runs]
    manifest = read_manifest(config.data)
    for run, card in zip(config.run, cards, strict=True):
        check_same_preprocessing(card.class_names, card.equalization, manifest, config.data)
        fold = card.fold_in(manifest.fingerprint)
        if fold and config.split in POOLED:
            continue  # it is evaluated on those of its fold
        if fold is None and card.dataset_fingerprint == manifest.fingerprint:
            check_held_out(card.trained_on or (), "val" if config.output else config.split, run)
        check_filled(manifest, config.split, config.data)
    if config.output is not None:
        return _evaluate_together(config, manifest, cards)
    source = _sources_of(cards[0], config, manifest, [config.split])[config.split]
    point = _operating_point(runs[0], cards[0], config.threshold_rule)
    with quiet_start():
        from trainer.evaluation.evaluate import measure, predict_split
        from trainer.evaluation.predictor import load_predictor
        from trainer.report.samples import read_samples
    predictor = load_predictor(runs[0].model)
    predictions = predict_split(predictor, source, config.split, batch_size=config.batch_size)
    evaluation = measure(predictions, config.split, point=point, prevalence=config.prevalence)
    if config.robustness:
        from trainer.evaluation.robustness import with_robustness

        equalization = manifest.options["equalization"]
        evaluation = with_robustness(
            evaluation, predictor, source, equalization=equalization, batch_size=config.batch_size
        )
    same = cards[0].dataset_fingerprint == manifest.fingerprint
    folder = runs[0] if same else runs[0].aside(manifest.fingerprint)
    numbers = publish(folder, [evaluation], read_samples([evaluation], {config.split: source}, predictor.model))
    runs[0].push()
    return folder, numbers


def _sources_of(
    card: ModelCard, config: EvaluateConfig, manifest: Manifest, splits: list[str]
) -> dict[str, SplitSource]:
    """Splits at the size of a run; those of the fold that it was trained in, if it was in one."""
    fold = card.fold_in(manifest.fingerprint)
    in_fold = fold is not None and not set(splits).isdisjoint(POOLED)
    wanted = {*splits, *POOLED} if in_fold else splits
    opened = {split: open_split(config.data, manifest, card.image_size, split) for split in wanted}
    sources = copied_to(config.stage_dir, opened, manifest)
    if fold is None or not in_fold:
        return sources
    with quiet_start():
        from trainer.data.training_data import open_fold
    return open_fold(fold, config.data, manifest, sources).sources


def _operating_point(run: RunFolder, card: ModelCard, rule: str | None) -> OperatingPoint:
    """That of the run, its threshold chosen anew on the run's own validation images if a rule is given."""
    point = card.operating_point
    if rule is None:
        return point
    from trainer.evaluation.predictions import read_predictions

    val = read_predictions(run.path, "val")
    if val is None:
        raise UsageError(f"--threshold_rule {rule}: {run} has no predictions-val.csv to choose on; evaluate val first")
    return replace(point, threshold=choose_threshold(rule, val.labels, val.probabilities), threshold_rule=rule)


def _evaluate_together(
    config: EvaluateConfig, manifest: Manifest, cards: list[ModelCard]
) -> tuple[RunFolder, dict[str, Any]]:
    """Evaluates runs as one model into `--output`.

    On the dataset that they were trained on, threshold and temperature are fitted on its validation images; any other
    dataset is evaluated with what was fitted so, which must be there already.
    """
    home = folder = RunFolder.at(config.output or "").fetch(*RESULTS)
    known = together.open_output(folder, config, cards)
    own = cards[0].dataset_fingerprint == manifest.fingerprint
    if not own:
        if known is None:
            raise UsageError(
                f"{config.data} is not the dataset that the runs were trained on, and --output {folder} holds no "
                "threshold and temperature yet; evaluate them on their own dataset first, into the same --output"
            )
        point = known.operating_point
    splits: list[str] = sorted({"val", config.split}) if own else [config.split]
    models = [
        (RunFolder.at(run).model, {split: each for split, each in sources.items() if split in splits})
        for run, card in zip(config.run, cards, strict=True)
        for sources in [_sources_of(card, config, manifest, splits)]
    ]
    with quiet_start():
        from trainer.evaluation.ensemble import predict_together
        from trainer.evaluation.evaluate import measure
        from trainer.report.samples import read_samples
    found = predict_together(models, tta=config.tta, batch_size=config.batch_size)
    if own:
        val = found["val"]
        rule = config.threshold_rule or (known.threshold_rule if known else "0.5")
        point = fit_operating_point(rule, val.labels, val.probabilities)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_json("config", asdict(config))
        together.describe(config, cards, point).write(folder)
    else:
        folder = folder.aside(manifest.fingerprint)
    evaluations = [
        measure(predictions, split, point=point, prevalence=config.prevalence) for split, predictions in found.items()
    ]
    numbers = publish(folder, evaluations, read_samples(evaluations, models[0][1]))
    home.push()
    return folder, numbers


def publish(folder: RunFolder, evaluations: Sequence[Evaluation], samples: Sequence[Sample]) -> dict[str, Any]:
    """Writes predictions, then numbers, then the page; the numbers of splits that are there already stay.

    Args:
        folder: of the run.
        evaluations: one of each split.
        samples: images for the page, see `read_samples`.

    Returns:
        The content of `metrics.json`.
    """
    from trainer.evaluation.predictions import write_predictions
    from trainer.report.run_page import write_report

    numbers = folder.read_json("metrics") if (folder.path / "metrics.json").exists() else {}
    for evaluation in evaluations:
        threshold, temperature = (evaluation.numbers[name] for name in ("threshold", "temperature"))
        write_predictions(
            folder, evaluation.split, evaluation.predictions, threshold=threshold, temperature=temperature
        )
        numbers[evaluation.split] = evaluation.numbers
    folder.write_json("metrics", numbers)
    write_report(folder.path, samples)
    return numbers
