"""Puts together what all trials of a search share, and checks it before the first trial starts. Loads nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.file import preset_in, shared_flags, value_of
from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.config.train_flags import SelectBy, TrainFlags
from trainer.data.checks import check_selection, check_threshold_rule, check_trainable, settings_left_out
from trainer.data.folds import POOLED
from trainer.data.splits import open_split, read_manifest
from trainer.external.sets import check_external, open_external_sets
from tuning.config import SearchConfig
from tuning.trials.objectives import check_flags, check_objective
from tuning.trials.search_space import EQUALIZATION, SearchSpace, resolve_space
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.trial import check_trial_id

logger = logging.getLogger(__name__)

RESERVED_FLAGS = ("config", "evaluate_test", "train_on_val", "keep_checkpoint", "continue_from")
"""The flags of `trainer train` that a search sets itself, or that make no sense for a trial."""

HYPERBAND_NUMBERS = ("tuner/epochs", "tuner/initial_epoch", "tuner/bracket", "tuner/round")
"""The whole numbers that Hyperband adds to the values of a trial, none of them larger than its epochs."""

Values = Mapping[str, Any]
"""Hyperparameter → value. Hyperband adds `tuner/epochs`, the epochs to train in all, and `tuner/trial_id`, the shorter
trial to continue."""


@dataclass(frozen=True)
class SweepJob:
    """The job of a sweep: the flags of the search, the flags that all trials share, the search space and the datasets.

    Attributes:
        config: the flags of the search.
        flags: the flags of `trainer train` that all trials share.
        space: the hyperparameters and their values.
        datasets: equalization → dataset folder.
        manifests: equalization → manifest of the dataset.
    """

    config: SearchConfig
    flags: dict[str, Any]
    space: SearchSpace
    datasets: dict[str, str]
    manifests: dict[str, Manifest]

    @classmethod
    def of(cls, config: SearchConfig, train_flags: Sequence[str] = ()) -> SweepJob:
        """Reads the datasets and parses the flags that the trials share.

        Args:
            config: the flags of the search.
            train_flags: the rest of the command line.

        Raises:
            UsageError: a flag is wrong, the datasets hold different images, or no configuration can be trained.
        """
        manifests: dict[str, Manifest] = {}
        datasets: dict[str, str] = {}
        for data in config.data:
            manifest = read_manifest(data)
            equalization = str(manifest.options["equalization"])
            if equalization in datasets:
                raise UsageError(
                    f"--data {data}: has the equalization {equalization}, as {datasets[equalization]} has; expected "
                    "datasets that differ in their equalization"
                )
            manifests[equalization], datasets[equalization] = manifest, data
        sizes = _common_sizes(manifests, datasets)
        preset = preset_in(train_flags)
        shared = _parse(train_flags, config)
        shared |= settings_left_out(preset, shared, next(iter(manifests.values())).task)
        if config.objective == "external_auroc" and not shared["external"]:
            raise UsageError("--objective external_auroc needs --external, which is missing; name a dataset folder")
        common = TrainFlags(data=config.data[0], output=config.output, **shared)
        step = common.batch_step(common.replicas_on(0))  # the GPUs of the workers are known by --num_replicas alone
        space = resolve_space(config, common.arch, sizes, list(datasets), preset, step)
        job = cls(config, {**shared, **space.fixed}, space, datasets, manifests)
        job._check()
        return job

    @cached_property
    def folder(self) -> SweepFolder:
        """The folder of the sweep."""
        return SweepFolder(self.config.output)

    @cached_property
    def trainable(self) -> list[dict[str, Any]]:
        """The combinations that can be trained, in the order of the grid; a range is represented by its low end."""
        return [values for values in self.space.combinations() if self.why_untrainable(values) is None]

    @property
    def untrainable(self) -> dict[str, list[dict[str, Any]]]:
        """The combinations that can't be trained: reason → combinations."""
        combinations: dict[str, list[dict[str, Any]]] = {}
        for values in self.space.combinations():
            if (reason := self.why_untrainable(values)) is not None:
                combinations.setdefault(reason, []).append(values)
        return combinations

    @property
    def num_combinations(self) -> int | None:
        """The number of combinations that can be trained; None if there are ranges, which can't be counted."""
        return None if self.space.ranges else len(self.trainable)

    @property
    def max_epochs(self) -> int:
        """The largest number of epochs of a trial, over both phases."""
        is_transfer = self.flags["arch"] not in FROM_SCRATCH
        epochs: int = self.flags["epochs"] + (self.flags["fine_tune_epochs"] if is_transfer else 0)
        return epochs

    def train_config(self, values: Values, output: str | Path) -> TrainConfig:
        """Returns the flags of a trial that trains from the start.

        Args:
            values: the hyperparameters of the trial.
            output: the run folder of the trial.

        Raises:
            UsageError: this configuration can't be trained.
        """
        chosen = searched_values(values)
        data = self.datasets[chosen.pop(EQUALIZATION, next(iter(self.datasets)))]
        config = TrainConfig(**{**self.flags, **chosen, "data": data, "output": str(output)})
        if "tuner/epochs" not in values:
            return config
        # Where a training has two phases, a short trial trains their first epochs.
        epochs = min(values["tuner/epochs"], config.epochs)
        more = max(values["tuner/epochs"] - config.epochs, 0)
        fine_tune_epochs = min(more, config.fine_tune_epochs)
        return TrainConfig(**{**asdict(config), "epochs": epochs, "fine_tune_epochs": fine_tune_epochs})

    def checked_proposal(self, trial_id: str, values: Values) -> Values:
        """Returns the values of a trial as the space declares them, once they are checked.

        The values name the folder that is written and the flags of its training, and may come from a stranger: over the
        network, or from the files of the sweep.

        Raises:
            RunError: the id is not that of a trial, or a value is not one that this search can have chosen.
        """
        try:
            check_trial_id(trial_id)
            own = {name: value for name, value in values.items() if name.startswith("tuner/")}
            if own and self.config.algorithm != "hyperband":
                raise ValueError(f"found {min(own)}, which only Hyperband sets")
            for name, value in own.items():
                if name == "tuner/trial_id":
                    check_trial_id(value)
                elif name not in HYPERBAND_NUMBERS or type(value) is not int or not 0 <= value <= self.max_epochs:
                    raise ValueError(f"found {name[:40]!r} as {str(value)[:40]!r}")
            return {**self.space.declared(searched_values(values)), **own}
        except ValueError as error:
            raise RunError(f"the chief proposed a trial that is none of this search: {error}") from None

    def why_untrainable(self, values: Values) -> str | None:
        """Returns why a combination can't be trained, in one line; None if no reason is known."""
        try:
            config = self.train_config(values, "OUTPUT")
            manifest = self.manifests[values.get(EQUALIZATION, next(iter(self.manifests)))]
            if config.division is None:
                check_trainable(manifest.splits, config.global_batch_size)
        except UsageError as error:
            return " ".join(str(error).split())
        return None

    def check_external(self) -> None:
        """Checks that the sets of `--external` share no image with the training, as each trial does; loads TensorFlow.

        Raises:
            UsageError: a set shares images or patients.
            RunError: the records can't be read.
        """
        if self.flags["external"]:
            config = self.train_config(self.trainable[0], "OUTPUT")
            manifest = read_manifest(config.data)
            learnt = {split: open_split(config.data, manifest, config.image_size, split) for split in POOLED}
            check_external(open_external_sets(config, manifest), learnt)

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `sweep.json`."""
        return {
            "objective": self.config.objective,
            "direction": self.config.direction,
            "space": self.space.to_json(),
            "search": self.config.to_json(),
            "train": self.flags,
            "dataset_fingerprints": {name: manifest.fingerprint for name, manifest in self.manifests.items()},
        }

    def _check(self) -> None:
        if not self.trainable:
            raise UsageError(next(iter(self.untrainable)))
        for size in self.space.choices("image_size"):
            for equalization, manifest in self.manifests.items():
                for split in ("train", "val"):
                    open_split(self.datasets[equalization], manifest, size, split)
        if self.flags["external"]:
            configs = [self.train_config(values, "OUTPUT") for values in self.trainable]
            for config in {(config.data, config.image_size): config for config in configs}.values():
                open_external_sets(config, read_manifest(config.data))
        for manifest in self.manifests.values():
            check_flags(manifest, self.config, self.flags)
            if self.flags["fold"] or self.flags["holdout_domain"]:
                continue  # the images of a fold are counted when its trial starts
            check_threshold_rule(manifest.splits, self.flags["threshold_rule"])
            check_objective(manifest, self.config.objective)
            check_selection(manifest.splits, self.flags["select_by"])


def searched_values(values: Values) -> dict[str, Any]:
    """Returns the hyperparameters of the search space without those that Hyperband adds."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _parse(train_flags: Sequence[str], config: SearchConfig) -> dict[str, Any]:
    """Parses the flags that all trials share, and adds those that the search sets."""
    flags = asdict(shared_flags("cxrflow search", config.data[0], config.output, train_flags))
    for field in fields(TrainConfig):
        if field.name in RESERVED_FLAGS and flags[field.name] != field.default:
            raise UsageError(f"--{field.name} can't be set for the trials of a search; leave it out")
    for name in ("config", "preset", "data", "output"):
        del flags[name]
    preset = preset_in(train_flags)
    given = value_of("select_by", train_flags)
    if config.objective == "external_auroc" and given not in (None, config.objective):
        raise UsageError(
            f"--select_by {given}: with --objective external_auroc, the same metric chooses the epoch of each trial; "
            "leave --select_by out"
        )
    if given is None and "select_by" not in preset:
        flags["select_by"] = _selection(config)
    return flags | {
        "seed": config.seed,
        "early_stopping_patience": config.early_stopping_patience,
        "evaluate_test": False,
    }


def _selection(config: SearchConfig) -> str:
    """Returns the metric that chooses the epoch of each trial where the command names none.

    The metric is the objective if epochs are measured by it, else the validation loss; a sweep that is resumed keeps
    the metric that it was started with.
    """
    chosen = config.objective if config.objective in get_args(SelectBy) else "val_loss"
    folder = SweepFolder(config.output)
    if config.overwrite or not folder.is_started:
        return chosen
    began = str(folder.read_started()["train"].get("select_by", "val_loss"))
    if began not in get_args(SelectBy):
        return chosen
    if began != chosen:
        logger.warning(
            "--output %s: this sweep was started with --select_by %s and resumes with it; a new sweep for %s takes "
            "--select_by %s",
            *(config.output, began, config.objective, chosen),
        )
    return began


def _common_sizes(manifests: Mapping[str, Manifest], datasets: Mapping[str, str]) -> list[int]:
    """Returns the image sizes that all datasets hold, px.

    Raises:
        UsageError: the datasets hold different images, or have no size in common.
    """
    first, *others = manifests
    for other in others:
        for split in ("train", "val"):
            one, two = (manifests[name].splits[split].class_counts for name in (first, other))
            if one != two:
                raise UsageError(
                    f"--data {datasets[first]} {datasets[other]}: expected datasets of the same images; {split} holds "
                    f"{one} and {two}; prepare both from one input with the same fractions"
                )
    sizes = set.intersection(*(set(manifest.image_sizes) for manifest in manifests.values()))
    if not sizes:
        raise UsageError(
            f"--data {' '.join(datasets.values())}: no image size is in all datasets; prepare them with the same sizes"
        )
    return sorted(sizes)
