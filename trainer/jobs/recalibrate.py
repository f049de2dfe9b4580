"""Fits the probabilities and the threshold of a finished run to a sample of another source. Checks come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.config.commands import RecalibrateConfig
from trainer.config.quiet_start import quiet_start
from trainer.config.train import name_of_set
from trainer.data.checks import check_filled, check_same_preprocessing
from trainer.data.splits import read_manifest
from trainer.external.sets import check_other_source, open_joined
from trainer.run.folder import MODEL_FILES, RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

if TYPE_CHECKING:
    import numpy as np

    from trainer.evaluation.predictions import Predictions


def recalibrate(config: RecalibrateConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Fits temperature, biases and thresholds of a run to a sample, and writes them beside those of the run.

    Returns:
        The run folder, and the content of `recalibrations/NAME.json` there.

    Raises:
        UsageError: the folder holds no run or no dataset; the sample was prepared otherwise, shares images with the
            training or has too few patients; or the run has another recalibration of this name.
        RunError: the records can't be read.
    """
    run = RunFolder.at(config.run).fetch("config.json", *MODEL_FILES)
    card, manifest = ModelCard.read(run), read_manifest(config.data)
    if card.task == MULTICLASS and config.threshold_rule is not None:
        raise UsageError(
            f"--threshold_rule {config.threshold_rule}: {config.run} has no threshold, its most probable class is the "
            "prediction; leave it out"
        )
    check_same_preprocessing(
        card.labels, card.equalization, manifest, config.data, image_size=card.image_size, fit=card.fit
    )
    if card.dataset_fingerprint == manifest.fingerprint:
        raise UsageError(
            f"--data {config.data}: is the dataset that the run was trained on, whose validation images have chosen "
            "threshold and temperature already; expected a sample of another source"
        )
    if config.split != "all":
        check_filled(manifest, config.split, config.data)
    splits = manifest.splits if config.split == "all" else (config.split,)
    source = open_joined(config.data, manifest, card.image_size, config.stage_dir, splits)
    name = config.name or name_of_set(config.data)
    known = run.recalibrations().get(name)
    origin = {"name": name, "dataset_fingerprint": manifest.fingerprint, "split": config.split}
    if known is not None and any(known.get(key) != value for key, value in origin.items()):
        raise UsageError(f"--run {run}: has a recalibration {name} on another sample; choose another --name")
    was_compared = check_other_source(config.data, source, run, card)
    with quiet_start():
        from trainer.data.tf_dataset import read_index
        from trainer.evaluation.evaluate import predict_split
        from trainer.evaluation.predictor import load_predictor
        from trainer.external.class_recalibration import check_sample
    index = read_index(source)
    truths = _truths(index.labels, card)
    check_sample(truths, index.groups, config.data, card.class_names, card.task)
    predictor = load_predictor(run.model, tta=bool(card.tta), task=card.task)
    sample = predict_split(predictor, source, name, batch_size=config.batch_size)
    found = _fit(sample, card.operating_point, config.threshold_rule or card.operating_point.threshold_rule)
    content = {
        **origin,
        "data": config.data,
        "class_counts": dict(zip(card.class_names, (truths == 1).sum(axis=0).tolist(), strict=True)),
        "num_groups": len(set(index.groups)),
        "was_compared": was_compared,
        **found,
        "source_ids": sorted({digest[:16] for digest in index.source_ids if digest}),
        "groups": sorted({group[:16] for group in index.groups if group}),
    }
    run.write_recalibration(name, content)
    run.push()
    return run, content


def _truths(labels: Sequence[Any], card: ModelCard) -> np.ndarray:
    """Returns the labels of a sample by class, as `Predictions.truths`."""
    import numpy as np

    return np.asarray(labels) if card.task == MULTILABEL else np.eye(len(card.class_names), dtype=int)[list(labels)]


def _fit(sample: Predictions, point: OperatingPoint, rule: str) -> dict[str, Any]:
    """Returns what is fitted to a sample, for the file: the entries of the operating point and what is known of it."""
    from trainer.external.class_recalibration import recalibrate_classes, recalibrate_findings
    from trainer.external.recalibration import recalibrate

    if point.task == MULTICLASS:
        return recalibrate_classes(sample, point)
    if point.task == MULTILABEL:
        return recalibrate_findings(sample, point, rule)
    found = recalibrate(sample, point, rule)
    known = {key: value for key, value in asdict(found).items() if key != "point"}
    return {**found.point.to_json(), "bias": found.point.bias, **known}
