"""Fits the probabilities and the threshold of a finished run to a sample of another source. Checks come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY
from trainer.config.commands import RecalibrateConfig
from trainer.config.quiet_start import quiet_start
from trainer.config.train import name_of_set
from trainer.data.checks import check_filled, check_same_preprocessing
from trainer.data.splits import read_manifest
from trainer.external.sets import check_other_source, open_joined
from trainer.run.folder import MODEL_FILES, RunFolder
from trainer.run.model_card import ModelCard


def recalibrate(config: RecalibrateConfig) -> tuple[RunFolder, dict[str, Any]]:
    """Fits temperature, bias and threshold of a run to a sample, and writes them beside those of the run.

    Returns:
        The run folder, and the content of `recalibrations/NAME.json` there.

    Raises:
        UsageError: the folder holds no run or no dataset; the sample was prepared otherwise, shares images with the
            training or has too few patients; or the run has another recalibration of this name.
        RunError: the records can't be read.
    """
    run = RunFolder.at(config.run).fetch("config.json", *MODEL_FILES)
    card, manifest = ModelCard.read(run), read_manifest(config.data)
    if card.task != BINARY:
        raise UsageError(
            f"--run {config.run}: expected a run of two classes, found a {card.task} one, whose probabilities "
            "can't be fitted to another source; measure them there: cxrflow evaluate"
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
        from trainer.external import recalibration
    index = read_index(source)
    _check_large_enough(index.labels, index.groups, config.data, card.class_names)
    predictor = load_predictor(run.model, tta=bool(card.tta), task=card.task)
    sample = predict_split(predictor, source, name, batch_size=config.batch_size)
    rule = config.threshold_rule or card.operating_point.threshold_rule
    found = recalibration.recalibrate(sample, card.operating_point, rule)
    counts = {each: list(index.labels).count(label) for label, each in enumerate(card.class_names)}
    content = {
        **origin,
        "data": config.data,
        "class_counts": counts,
        "num_groups": len(set(index.groups)),
        "was_compared": was_compared,
        **found.point.to_json(),
        "bias": found.point.bias,
        **{key: value for key, value in asdict(found).items() if key != "point"},
        "source_ids": sorted({digest[:16] for digest in index.source_ids if digest}),
    }
    run.write_recalibration(name, content)
    run.push()
    return run, content


def _check_large_enough(labels: Sequence[int], groups: Sequence[str], data: str, class_names: Sequence[str]) -> None:
    """Raises a `UsageError` if a class has too few patients to fit anything to."""
    import numpy as np

    from trainer.external.recalibration import FEWEST_PATIENTS, count_patients

    counts = count_patients(np.asarray(labels), groups)
    if min(counts) < FEWEST_PATIENTS:
        raise UsageError(
            f"{data}: expected images of at least {FEWEST_PATIENTS} patients of each class, found {counts[0]} with "
            f"{class_names[0]} and {counts[1]} with {class_names[1]} images; a threshold of so few would be chance"
        )
