"""Evaluates finished runs on a split of a dataset. All checks are done before TensorFlow loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import BINARY, MULTICLASS
from beam_prep.storage.output_folder import check_output
from beam_prep.storage.paths import to_path
from trainer.config.commands import EvaluateConfig
from trainer.config.quiet_start import quiet_start
from trainer.config.train import name_of_set
from trainer.data.checks import check_filled, check_held_out, check_same_preprocessing
from trainer.data.splits import SplitSource, open_split, read_manifest
from trainer.data.staging import copy_shards_to
from trainer.evaluation.thresholds import fit_operating_point
from trainer.external.sets import check_other_source, has_selected, open_joined, was_fitted_to
from trainer.run.folder import MODEL_FILES, RESULT_FILES, RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.run.recalibrations import recalibrated

if TYPE_CHECKING:
    from trainer.evaluation.evaluate import Evaluation


def evaluate(config: EvaluateConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Evaluates a finished run, or several runs as one model, on a split.

    Returns:
        The folder that was written (the run folder or `--output`; for a dataset that the model was not trained on, a
        folder below its `evaluations/`), and the content of `metrics.json` there.

    Raises:
        UsageError: a folder holds no run or no dataset, the split is empty, or the dataset has another image size or
            equalization; the runs do not belong together, or the output folder holds something else.
        RunError: the records can't be read.
    """
    runs = [RunFolder.at(run).fetch(*RESULT_FILES, *MODEL_FILES) for run in config.run]
    cards = [ModelCard.read(run) for run in runs]
    manifest = read_manifest(config.data)
    for run, card in zip(config.run, cards, strict=True):
        _check_flags(config, run, card)
        _check_split(config, manifest, run, card)
    if config.output is None:
        return _evaluate_run(config, manifest, runs[0], cards[0])
    return _evaluate_ensemble(config, manifest, cards)


def check_ensemble_output(folder: RunFolder, config: EvaluateConfig, cards: list[ModelCard]) -> ModelCard | None:
    """Checks that runs belong together and that the output folder is theirs.

    Args:
        folder: the folder of `--output`.
        config: names the runs.
        cards: the model cards of the runs.

    Returns:
        The model card that an earlier evaluation of the same runs left in the folder; None if there was none.

    Raises:
        UsageError: the runs were trained on different datasets or in different folds, or the folder holds something
            else.
    """
    fingerprints = {card.dataset_fingerprint for card in cards}
    if len(fingerprints) > 1:
        raise UsageError(
            f"--run: expected runs that were trained on one dataset, found {len(fingerprints)}; what one of them tests "
            "on, another may have learnt from"
        )
    folds = {card.fold["fold"] if card.fold else "no fold" for card in cards}
    if len(folds) > 1:
        raise UsageError(
            f"--run: expected runs of one fold, found {', '.join(sorted(folds))}; what one of them validates on, "
            "another has learnt from"
        )
    if not check_output(config.output or "", "evaluation", ("model.json",)):
        return None
    known = ModelCard.read(folder)
    if (known.members, known.tta) != (_members(config, cards), config.tta):
        raise UsageError(
            f"--output {folder}: expected an empty or absent folder, or an earlier evaluation of the same runs, "
            "found something else; name another folder"
        )
    return known


def describe_ensemble(config: EvaluateConfig, cards: list[ModelCard], point: OperatingPoint) -> ModelCard:
    """Returns the model card of several runs as one model; what they have in common is taken from the first."""
    first = cards[0]
    return ModelCard(
        arch=" + ".join(card.arch for card in cards) + (" + mirror image" if config.tta else ""),
        image_size=max(card.image_size for card in cards),
        equalization=first.equalization,
        class_names=first.class_names,
        task=first.task,
        dataset_fingerprint=first.dataset_fingerprint,
        fit=first.fit,
        fold=first.fold,
        development={name: digest for card in cards for name, digest in (card.development or {}).items()},
        operating_point=point,
        summary="\n\n".join(card.summary for card in cards),
        software=first.software,
        num_replicas=first.num_replicas,
        device=first.device,
        members=_members(config, cards),
        tta=config.tta,
    )


def _members(config: EvaluateConfig, cards: list[ModelCard]) -> list[dict[str, Any]]:
    return [
        {"run": str(to_path(run).resolve()), "arch": card.arch, "image_size": card.image_size}
        | ({"tta": True} if card.tta and not config.tta else {})
        for run, card in zip(config.run, cards, strict=True)
    ]


def _check_flags(config: EvaluateConfig, run: str, card: ModelCard) -> None:
    """Checks that the flags have a meaning for the classes of a run."""
    if card.task != BINARY and config.prevalence is not None:
        raise UsageError(
            f"--prevalence {config.prevalence} is the share of one class, {run} has {len(card.class_names)} classes or "
            "findings; leave it out"
        )
    if card.task == MULTICLASS and config.threshold_rule is not None:
        raise UsageError(
            f"--threshold_rule {config.threshold_rule}: {run} has no threshold, its most probable class is the "
            "prediction; leave it out"
        )


def _check_split(config: EvaluateConfig, manifest: Manifest, run: str, card: ModelCard) -> None:
    """Checks that a run can be evaluated on the split: prepared alike, not empty, and not trained on."""
    check_same_preprocessing(
        card.labels, card.equalization, manifest, config.data, image_size=card.image_size, fit=card.fit
    )
    fold = card.fold_in(manifest.fingerprint)
    if fold and config.split in fold.divides:
        return  # the run is evaluated on the images of its own fold
    is_own = card.dataset_fingerprint == manifest.fingerprint
    if config.split == "all":
        if is_own or not manifest.num_records:
            found = "which the run was trained on" if is_own else "which holds no image"
            raise UsageError(f"--split all: expected a dataset of another source, found {config.data}, {found}")
        return
    if fold is None and is_own:
        check_held_out(card.trained_on or (), "val" if config.output else config.split, run)
    check_filled(manifest, config.split, config.data)


def _open_splits(
    config: EvaluateConfig, manifest: Manifest, card: ModelCard, splits: Sequence[str]
) -> dict[str, SplitSource]:
    """Opens splits at the image size of a run; train and val are those of its fold if the run was trained in one."""
    if "all" in splits:
        return {"all": open_joined(config.data, manifest, card.image_size, config.stage_dir, manifest.splits)}
    fold = card.fold_in(manifest.fingerprint)
    if fold and set(splits).isdisjoint(fold.divides):
        fold = None
    wanted = {*splits, *fold.divides} if fold else splits
    opened = {split: open_split(config.data, manifest, card.image_size, split) for split in wanted}
    sources = copy_shards_to(config.stage_dir, opened, manifest)
    if fold is None:
        return sources
    with quiet_start():
        from trainer.data.training_data import open_fold
    in_fold = open_fold(fold, config.data, manifest, sources).sources
    return {split: in_fold[split] for split in splits}


def _evaluate_run(
    config: EvaluateConfig, manifest: Manifest, run: RunFolder, card: ModelCard
) -> tuple[RunFolder, dict[str, Any]]:
    """Evaluates one run as it is and writes the results into its folder."""
    sources = _open_splits(config, manifest, card, [config.split])
    point = _operating_point(run, recalibrated(card, run, config.recalibration), config.threshold_rule)
    is_own = card.dataset_fingerprint == manifest.fingerprint
    if not is_own:
        check_other_source(config.data, sources[config.split], run, card)
    is_fitted = was_fitted_to(sources[config.split], run, config.recalibration)
    with quiet_start():
        from trainer.evaluation.evaluate import measure, predict_split
        from trainer.evaluation.predictor import load_predictor
        from trainer.evaluation.robustness import with_robustness
        from trainer.report.publish import publish
        from trainer.report.samples import read_samples
    predictor = load_predictor(run.model, tta=bool(card.tta), task=card.task)
    source = sources[config.split]
    predictions = predict_split(predictor, source, config.split, batch_size=config.batch_size)
    evaluation = measure(predictions, config.split, point=point, prevalence=config.prevalence)
    if config.robustness:
        evaluation = with_robustness(
            evaluation, predictor, source, equalization=card.equalization, batch_size=config.batch_size
        )
    if not is_own:
        selected = is_fitted or has_selected(config.data, manifest, source, [(run, card)])
        evaluation = _with_transfer(config, evaluation, run, point, manifest, selected=selected)
    if config.recalibration is not None:
        evaluation = replace(evaluation, numbers={**evaluation.numbers, "recalibration": config.recalibration})
    is_in_run = is_own and config.recalibration is None
    folder = run if is_in_run else run.evaluation_folder(manifest.fingerprint, config.recalibration)
    samples = read_samples([evaluation], sources, predictor.model, shows_pictures=manifest.shows_pictures)
    numbers = publish(folder, [evaluation], samples)
    run.push()
    return folder, numbers


def _with_transfer(
    config: EvaluateConfig,
    evaluation: Evaluation,
    run: RunFolder,
    point: OperatingPoint,
    manifest: Manifest,
    *,
    selected: bool,
) -> Evaluation:
    """Compares the evaluation of another dataset with the validation images of a run, if it has any."""
    from trainer.evaluation.evaluate import measure
    from trainer.evaluation.predictions import read_predictions
    from trainer.external.transfer import with_transfer

    val = read_predictions(run.path, "val", evaluation.predictions.class_names)
    return with_transfer(
        evaluation,
        None if val is None else measure(val, "val", point=point, prevalence=config.prevalence),
        name=name_of_set(config.data),
        role="development" if selected else "external",
        dataset_fingerprint=manifest.fingerprint,
        is_apart=True,
    )


def _operating_point(run: RunFolder, card: ModelCard, rule: str | None) -> OperatingPoint:
    """Returns the operating point of a run; a rule chooses its thresholds anew on the run's own validation images."""
    if rule is None:
        return card.operating_point
    from trainer.evaluation.predictions import read_predictions

    val = read_predictions(run.path, "val", card.class_names)
    if val is None:
        raise UsageError(f"--threshold_rule {rule}: {run} has no predictions-val.csv to choose on; evaluate val first")
    chosen = fit_operating_point(rule, val.labels, val.probabilities, val.groups, val.class_names)
    return replace(card.operating_point, threshold=chosen.threshold, thresholds=chosen.thresholds, threshold_rule=rule)


def _evaluate_ensemble(
    config: EvaluateConfig, manifest: Manifest, cards: list[ModelCard]
) -> tuple[RunFolder, dict[str, Any]]:
    """Evaluates several runs as one model and writes the results into `--output`.

    On the dataset that the runs were trained on, threshold and temperature are fitted on its validation images; any
    other dataset is evaluated with the threshold and temperature that were fitted so, in an earlier evaluation.
    """
    home = RunFolder.at(config.output or "").fetch(*RESULT_FILES)
    known = check_ensemble_output(home, config, cards)
    is_own = cards[0].dataset_fingerprint == manifest.fingerprint
    if known is None and not is_own:
        raise UsageError(
            f"{config.data} is not the dataset that the runs were trained on, and --output {home} holds no "
            "threshold and temperature yet; evaluate them on their own dataset first, into the same --output"
        )
    splits = sorted({"val", config.split}) if is_own else [config.split]
    sources = [_open_splits(config, manifest, card, splits) for card in cards]
    if not is_own:
        check_other_source(config.data, sources[0][config.split], RunFolder.at(config.run[0]), cards[0])
    with quiet_start():
        from trainer.evaluation.ensemble import Member, predict_together
        from trainer.evaluation.evaluate import measure
        from trainer.report.publish import publish
        from trainer.report.samples import read_samples
    members = [
        Member(RunFolder.at(run).model, of_run, tta=config.tta or bool(card.tta))
        for run, of_run, card in zip(config.run, sources, cards, strict=True)
    ]
    predicted = predict_together(members, batch_size=config.batch_size)
    point = known.operating_point if known else OperatingPoint()
    if is_own:
        val = predicted["val"]
        rule = config.threshold_rule or point.threshold_rule
        point = fit_operating_point(rule, val.labels, val.probabilities, val.groups, val.class_names)
        home.path.mkdir(parents=True, exist_ok=True)
        home.write_json("config", asdict(config))
        describe_ensemble(config, cards, point).write(home)
    folder = home if is_own else home.evaluation_folder(manifest.fingerprint)
    evaluations = [
        measure(predictions, split, point=point, prevalence=config.prevalence)
        for split, predictions in predicted.items()
    ]
    if known and not is_own:
        of_runs = zip(map(RunFolder.at, config.run), cards, strict=True)
        selected = has_selected(config.data, manifest, sources[0][config.split], of_runs)
        evaluations = [_with_transfer(config, each, home, point, manifest, selected=selected) for each in evaluations]
    samples = read_samples(evaluations, sources[0], shows_pictures=manifest.shows_pictures)
    numbers = publish(folder, evaluations, samples)
    home.push()
    return folder, numbers
