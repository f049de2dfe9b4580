"""Fits a linear probe from end to end: a frozen network with a linear layer on its features, saved as a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.storage.locks import exclusive
from beam_prep.storage.paths import to_path
from trainer.config.commands import ProbeConfig
from trainer.config.fold import Fold
from trainer.config.quiet_start import quiet_start
from trainer.config.train import FROM_SCRATCH
from trainer.data.checks import (
    check_fold,
    check_held_out,
    check_same_preprocessing,
    check_task,
    check_threshold_rule,
    check_trainable,
    warn_of_missing,
)
from trainer.data.folds import FoldSplits
from trainer.data.splits import SplitSource, open_split, read_manifest
from trainer.data.staging import copy_shards_to
from trainer.evaluation.thresholds import fit_operating_point
from trainer.run.folder import MODEL_FILES, RunFolder, written
from trainer.run.identity import job_of
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.run.output import check_run_output

if TYPE_CHECKING:
    import keras

    from trainer.evaluation.linear_probe import Probe


def probe(config: ProbeConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Fits a linear probe, evaluates it and writes its report.

    The regularization is chosen on training images alone, threshold and temperature on validation images. The network
    of a run that was trained on the same images knows their classes, so that every regularization looks good on them.

    Returns:
        The run folder and the content of `metrics.json`.

    Raises:
        UsageError: the run, the dataset, the output folder or the weights are wrong, or there are too few images or
            patients; nothing was written.
        RunError: the records can't be read, or another job writes to the folder.
    """
    manifest = read_manifest(config.data)
    check_task(manifest, threshold_rule=config.threshold_rule, prevalence=config.prevalence)
    network, fold = _describe_network(config, manifest)
    sources = {
        split: open_split(config.data, manifest, network["image_size"], split)
        for split in manifest.splits
        if config.evaluate_test or split != "test"
    }
    if fold is None:  # the splits of a fold are checked when its records are known
        check_trainable(manifest.splits, batch_size=1)
        check_threshold_rule(manifest.splits, config.threshold_rule)
        warn_of_missing(manifest.splits)
    job = job_of(asdict(config), manifest.fingerprint)
    with exclusive(RunFolder.at(config.output).path):
        output = check_run_output(config.output, job, overwrite=config.overwrite)
        sources = copy_shards_to(config.stage_dir, sources, manifest)
        started = time.monotonic()
        with quiet_start():
            from trainer.models.linear_head import with_linear_head
            from trainer.models.outputs import Outputs
            from trainer.report.publish import publish
            from trainer.report.samples import read_samples
        in_fold = _divide(fold, config, manifest, sources) if fold else None
        sources = {name: each for name, each in (in_fold.sources if in_fold else sources).items() if each.num_records}
        extractor, fitted = _fit(config, sources["train"])
        model = with_linear_head(extractor, Outputs.of(manifest), *fitted.folded())
        folder = output.open()
        with written(folder.model) as temporary:
            model.save(temporary)
        seconds = round(time.monotonic() - started, 1)
        point, evaluations = _evaluate(model, config, sources)
        described = _describe(config, manifest, model, fitted, seconds)
        fold_entry = in_fold.to_json() if in_fold else None
        ModelCard(**network, **described, fold=fold_entry, operating_point=point).write(folder)
        samples = read_samples(evaluations, sources, model, shows_pictures=manifest.shows_pictures)
        numbers = publish(folder, evaluations, samples)
        folder.finish()
        folder.push()
        return folder, numbers


def _describe_network(config: ProbeConfig, manifest: Manifest) -> tuple[dict[str, Any], Fold | None]:
    """Returns `arch` and `image_size` of the network, and its fold; checks that its run fits the dataset."""
    wanted = Fold.parse(config.fold) if config.fold else None
    if config.run is None:
        return {"arch": f"linear probe of {config.arch}", "image_size": config.image_size}, wanted
    card = ModelCard.read(RunFolder.at(config.run).fetch(*MODEL_FILES))
    check_same_preprocessing(
        card.labels, card.equalization, manifest, config.data, image_size=card.image_size, fit=card.fit
    )
    fold = card.fold_in(manifest.fingerprint)
    if card.dataset_fingerprint == manifest.fingerprint:
        if fold is None:
            check_held_out(card.trained_on or (), "val", config.run)
        if wanted not in (None, fold):
            trained = f"in fold {fold}" if fold else "without --fold"
            raise UsageError(
                f"--fold {wanted}: --run {config.run} was trained {trained}, on some of the images of that fold; "
                "leave --fold out, or give a run of the same fold"
            )
    described = {"arch": f"linear probe of {card.arch}", "image_size": card.image_size}
    return described, fold or wanted


def _divide(fold: Fold, config: ProbeConfig, manifest: Manifest, sources: Mapping[str, SplitSource]) -> FoldSplits:
    """Divides the records into the splits of a fold and checks that these are large enough."""
    from trainer.data.training_data import open_fold

    found = open_fold(fold, config.data, manifest, sources)
    check_fold(found, batch_size=1, threshold_rule=config.threshold_rule)
    return found


def _fit(config: ProbeConfig, source: SplitSource) -> tuple[keras.Model, Probe]:
    """Returns the network without its head, and the probe fitted on its features of the training images."""
    import keras

    from beam_prep.console.progress import progress_bar
    from trainer import models
    from trainer.evaluation.features import features_of
    from trainer.evaluation.linear_probe import check_components, fit_probe
    from trainer.models.linear_head import cut_before_head
    from trainer.models.model_file import load_model

    keras.utils.set_random_seed(config.seed)
    network = config.network()
    model = load_model(RunFolder.at(config.run or "").model) if network is None else models.build(network)
    extractor = cut_before_head(model, trained=network is None)
    check_components(
        config.pca_components, num_features=extractor.output.shape[-1], num_images=source.num_records
    )  # before the features of all images are computed
    seen = features_of(extractor, source, "train", batch_size=config.batch_size)
    with progress_bar("probe", config.folds, unit="folds") as bar:
        fitted = fit_probe(
            seen.values,
            seen.labels,
            seen.groups,
            pca_components=config.pca_components,
            num_folds=config.folds,
            class_weights=config.class_weights,
            seed=config.seed,
            on_fold=bar.update,
        )
    return extractor, fitted


def _evaluate(
    model: keras.Model, config: ProbeConfig, sources: Mapping[str, SplitSource]
) -> tuple[OperatingPoint, list]:
    """Fits the operating point on validation, and evaluates on test (if it is wanted) and validation."""
    import tensorflow as tf

    from trainer.evaluation.evaluate import measure, predict_split
    from trainer.evaluation.predictor import Predictor

    predictor = Predictor(model, tf.distribute.get_strategy())
    predicted = {
        split: predict_split(predictor, sources[split], split, batch_size=config.batch_size)
        for split in ("test", "val")
        if split in sources
    }
    val = predicted["val"]
    point = fit_operating_point(config.threshold_rule, val.labels, val.probabilities, val.groups, val.class_names)
    evaluations = [
        measure(predictions, split, point=point, prevalence=config.prevalence)
        for split, predictions in predicted.items()
    ]
    return point, evaluations


def _describe(
    config: ProbeConfig, manifest: Manifest, model: keras.Model, fitted: Probe, seconds: float
) -> dict[str, Any]:
    """Returns the entries of the model card that do not come from the network, the fold or the operating point."""
    from trainer.run.provenance import origin_of
    from trainer.training.phases import count_parameters

    random = config.weights == "none" or config.arch in FROM_SCRATCH
    num_trainable = model.get_layer("logits").count_params()
    phase = {"name": "probe", **count_parameters(model), "num_trainable": num_trainable, "epochs": 1}
    return {
        "equalization": manifest.options["equalization"],
        "class_names": list(manifest.class_names),
        "task": manifest.task,
        "dataset_fingerprint": manifest.fingerprint,
        "fit": manifest.options.get("fit"),
        "num_corrupt": {},
        "trained_on": ["train"],
        "phases": [{**phase, "seconds": seconds}],
        "best": None,
        "probe": {
            "features_of": str(to_path(config.run).resolve())
            if config.run
            else f"{config.arch}, {'random' if random else config.weights} weights",
            "num_features": fitted.pipeline.n_features_in_,
            "pca_components": config.pca_components,
            "explained_variance": fitted.explained_variance,
            "folds": config.folds,
            "strength": fitted.best.value,
            "tried": [
                {"strength": each.value, "auroc": each.auroc, "auroc_sd": each.auroc_sd} for each in fitted.tried
            ],
        },
        **origin_of(model),
    }
