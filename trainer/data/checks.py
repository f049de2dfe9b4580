"""Checks that the splits of a dataset can be trained or evaluated on, before any work starts. Standard library only."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL, LabelSpace
from beam_prep.dataset.trainable import LARGER_VAL, advise_on_images, find_training_problem
from trainer.config.presets import preparation, read_preset
from trainer.config.threshold_rule import DEFAULT_RULE, RATES, parse_rule
from trainer.config.train import TrainConfig
from trainer.data.folds import FoldSplits
from trainer.data.splits import add_counts

logger = logging.getLogger(__name__)

TASKS_OF_SETTINGS = {
    "threshold_rule": (DEFAULT_RULE, (BINARY, MULTILABEL)),
}
"""The flags that not all tasks have: the default, and the tasks in which another value has a meaning."""


def check_trainable(splits: Mapping[str, Split], batch_size: int, larger_val: str = LARGER_VAL) -> None:
    """Raises a `UsageError` unless there are training images of all classes, a whole batch, and validation images.

    Args:
        splits: splits of a dataset or of a fold.
        batch_size: the global batch size.
        larger_val: what gives more validation images, for the message.
    """
    if problem := find_training_problem(splits, larger_val):
        raise UsageError(problem)
    if not has_labels(splits["val"]):
        raise UsageError(f"no label of the validation images is known; {advise_on_images(splits, larger_val)}")
    num_images = splits["train"].num_records
    if num_images < batch_size:
        raise UsageError(f"--batch_size is {batch_size}, more than the {num_images} training images")


def check_task(
    manifest: Manifest,
    *,
    threshold_rule: str = DEFAULT_RULE,
    prevalence: float | None = None,
    select_by: str = "val_loss",
) -> None:
    """Raises a `UsageError` if a flag of `train` or `probe` has no meaning for the task of a dataset."""
    num_classes = len(manifest.class_names)
    kinds = {MULTICLASS: f"{num_classes} classes, of which the most probable one is called", MULTILABEL: "findings"}
    if manifest.task == MULTICLASS and threshold_rule != DEFAULT_RULE:
        raise UsageError(f"--threshold_rule {threshold_rule}: the dataset has {kinds[MULTICLASS]}; leave it out")
    if manifest.task != BINARY and prevalence is not None:
        raise UsageError(
            f"--prevalence {prevalence} is for datasets of two classes, this one has {kinds[manifest.task]}; leave it "
            "out"
        )
    if manifest.task == MULTILABEL and select_by == "val_accuracy":
        raise UsageError("--select_by val_accuracy: a dataset of findings has none; choose val_loss or val_auroc")


def has_labels(split: Split) -> bool:
    """Returns True if there are images, and the label of some finding is known of one of them."""
    return bool(split.num_records) and (split.known_counts is None or any(split.known_counts.values()))


def has_auroc(splits: Sequence[Split]) -> bool:
    """Returns True if an AUROC is defined on the images of some splits: a class is true of some, and not of others."""
    split = add_counts(splits)
    known = split.known_counts or dict.fromkeys(split.class_counts, split.num_records)
    return any(0 < count < known[name] for name, count in split.class_counts.items())


def check_selection(splits: Mapping[str, Split], select_by: str, larger_val: str = LARGER_VAL) -> None:
    """Raises a `UsageError` if `--select_by` names an AUROC that is not defined on the validation images."""
    if select_by == "val_auroc" and not has_auroc([splits["val"]]):
        raise UsageError(
            f"--select_by val_auroc needs validation images of both classes, found "
            f"{splits['val'].class_counts}; choose val_loss; otherwise "
            f"{advise_on_images(splits, larger_val)}"
        )


def warn_of_missing(splits: Mapping[str, Split], where: str = "") -> None:
    """Logs the classes of which train or validation has no image, and what follows from that.

    Args:
        splits: the splits of a dataset or of a fold.
        where: the fold, for the message; with a colon and a blank.
    """
    for split, meaning in (("train", "they can't be learnt"), ("val", "their numbers there are not defined")):
        missing = [name for name, count in splits[split].class_counts.items() if not count]
        if missing and splits[split].num_records:
            logger.warning("%s%s has no image of %s: %s", where, split, ", ".join(missing), meaning)


def check_threshold_rule(splits: Mapping[str, Split], rule: str, larger_val: str = LARGER_VAL) -> None:
    """Raises a `UsageError` if there are too few validation images of one of two classes for a threshold rule."""
    counts, parsed = splits["val"].class_counts, parse_rule(rule)
    if len(counts) != 2 or splits["val"].known_counts is not None:
        return  # the threshold of a finding without validation images is logged where it is chosen
    bounded = tuple(counts)[RATES[parsed.kind]] if parsed.kind in RATES else None
    if bounded is not None and 0 < counts[bounded] < parsed.least_images:
        raise UsageError(
            f"--threshold_rule {rule} needs {parsed.least_images} or more validation images of {bounded}, found "
            f"{counts[bounded]}; with fewer no share of them shows it; lower the rate or the confidence"
        )
    if parsed.kind != "fixed" and not all(counts.values()):
        raise UsageError(
            f"--threshold_rule {rule} needs validation images of both classes, found {counts}; "
            f"give a probability such as 0.5; otherwise {advise_on_images(splits, larger_val)}"
        )


def check_filled(manifest: Manifest, split: str, data: str) -> None:
    """Raises a `UsageError` if a split of the dataset in the folder `data` is empty, or no label in it is known."""
    if not has_labels(manifest.splits[split]):
        filled = [name for name, each in manifest.splits.items() if has_labels(each)]
        lacks = "has no known label" if manifest.splits[split].num_records else "is empty"
        raise UsageError(f"{data}: its {split} split {lacks}; choose --split from: {', '.join(filled)}")


def check_held_out(trained_on: Sequence[str], split: str, run: str) -> None:
    """Raises a `UsageError` if a run was trained on the images of a split to evaluate; train may always be evaluated.

    Args:
        trained_on: splits whose images the run was trained on.
        split: name of the split.
        run: the run folder, for the message.
    """
    if split != "train" and split in trained_on:
        raise UsageError(
            f"--run {run}: was trained on the images of {split} too (--train_on_val), so that its numbers there "
            "would mean nothing; evaluate it on test"
        )


def check_same_preprocessing(
    labels: LabelSpace,
    equalization: str,
    manifest: Manifest,
    data: str,
    *,
    image_size: int,
    fit: str | None = None,
) -> None:
    """Raises a `UsageError` unless a dataset has the classes and the preprocessing of a training.

    The message holds the command that prepares the dataset so.

    Args:
        labels: task and class names of the run.
        equalization: equalization of the images that the run was trained on.
        manifest: manifest of the dataset.
        data: the dataset folder, for the message.
        image_size: side of the images that the network takes, px.
        fit: the way those images became squares; None for `squash`.
    """
    if labels != manifest.labels:
        known, held = (f"{list(each.class_names)} ({each.task})" for each in (labels, manifest.labels))
        named = " ".join(map(quote, labels.class_names))
        task = f" --task {MULTILABEL}" if labels.is_multilabel else ""
        raise UsageError(
            f"the run knows the classes {known}, {data} holds {held}; prepare it with: "
            f"{preparation(image_size, equalization)}{task} --classes {named}"
        )
    prepared = {"equalization": manifest.options["equalization"], "fit": manifest.options.get("fit", "squash")}
    fit = fit or "squash"
    fit_flag = f" --fit {fit}" if fit != prepared["fit"] or fit != "squash" else ""
    command = f"prepare it with: {preparation(image_size, equalization)}{fit_flag}"
    for name, wanted in (("equalization", equalization), ("fit", fit)):
        if wanted != prepared[name]:
            raise UsageError(
                f"the run was trained on images with {name} {wanted}, {data} was prepared with {prepared[name]}; "
                f"{command}"
            )
    if image_size not in manifest.image_sizes:
        held = ", ".join(map(str, manifest.image_sizes))
        raise UsageError(f"the run was trained at {image_size} px, {data} holds {held} px; {command}")


def check_preparation(config: TrainConfig, manifest: Manifest) -> None:
    """Checks that a dataset was prepared as the preset of a training needs it, if the training has one.

    Another equalization is only said: flags may change whatever else a preset sets, and the results may still be good.

    Raises:
        UsageError: the dataset lacks the image size; the message tells the command that prepares it.
    """
    if config.preset is None:
        return
    wanted, prepared = read_preset(config.preset).equalization, manifest.options["equalization"]
    command = preparation(config.image_size, wanted)
    if config.image_size not in manifest.image_sizes:
        held = ", ".join(map(str, manifest.image_sizes))
        raise UsageError(
            f"--preset {config.preset} needs images of {config.image_size} px, {config.data} holds {held} px; "
            f"prepare them: {command}"
        )
    if prepared != wanted:
        logger.warning(
            "--preset %s was measured on images with equalization %s, %s was prepared with %s; to prepare it so: %s",
            *(config.preset, wanted, config.data, prepared, command),
        )


def settings_left_out(preset: Mapping[str, Any], flags: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Returns the defaults of those settings of a preset that have no meaning for a task, and says which they are.

    Presets are measured on two classes. What the user sets otherwise than the preset is for `check_task` to refuse.

    Args:
        preset: the settings of the preset by flag; none without a preset.
        flags: the flags of the training, with those of its preset.
        task: the task of the dataset.
    """
    left_out = {
        flag: default
        for flag, (default, tasks) in TASKS_OF_SETTINGS.items()
        if task not in tasks and flag in preset and preset[flag] == flags[flag] != default
    }
    if left_out:
        listed = " and ".join(f"--{flag} {preset[flag]}" for flag in left_out)
        logger.warning("--preset: leaves out %s, which has no meaning for %s data", listed, task)
    return left_out


def check_fold(divided: FoldSplits, batch_size: int, threshold_rule: str, select_by: str = "val_loss") -> None:
    """Raises a `UsageError` that names the fold unless its splits can be trained and validated on."""
    fold, splits = divided.fold, divided.splits
    larger_val = LARGER_VAL if fold.domain is not None else fold.larger_val
    try:
        check_trainable(splits, batch_size, larger_val)
        check_threshold_rule(splits, threshold_rule, larger_val)
        check_selection(splits, select_by, larger_val)
    except UsageError as error:
        raise UsageError(f"{fold.flag}: {error}") from None
    if divided.num_unknown:
        logger.warning(
            "%s: of %d images that are trained or validated on, the domain is not known; they may be of %s too",
            *(fold.flag, divided.num_unknown, ", ".join(divided.domains)),
        )
    warn_of_missing(splits, where=f"{fold.flag}: ")
