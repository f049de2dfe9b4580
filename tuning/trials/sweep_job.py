"""What the trials of a search share, checked before the first one starts. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.file import preset_in, shared_flags
from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.data.checks import check_threshold_rule, check_trainable
from trainer.data.splits import open_split, read_manifest
from tuning.config import SearchConfig
from tuning.trials.search_space import EQUALIZATION, Space, resolve

NOT_OF_TRIALS = ("config", "evaluate_test", "train_on_val", "keep_checkpoint", "continue_from")
"""Flags of `trainer train` that a search sets itself, or that make no sense for a trial."""

BOTH_CLASSES = ("val_auroc", "val_auprc", "val_sensitivity", "val_specificity")
"""Objectives that validation images of one class do not define."""

Values = Mapping[str, Any]
"""Hyperparameter → value. Hyperband's own are among them: `tuner/epochs` to train in all, `tuner/trial_id` to go on
from."""


@dataclass(frozen=True)
class Job:
    """A search.

    Attributes:
        config: its flags.
        flags: those of `trainer train` that all trials share.
        space: what is varied.
        datasets: folder by equalization.
        manifests: by equalization.
    """

    config: SearchConfig
    flags: dict[str, Any]
    space: Space
    datasets: dict[str, str]
    manifests: dict[str, Manifest]

    @classmethod
    def of(cls, config: SearchConfig, train_flags: Sequence[str] = ()) -> Job:
        """Reads the datasets and puts together what the trials share.

        Args:
            config: of the search.
            train_flags: the rest of the command line.

        Raises:
            UsageError: a flag is wrong, the datasets are not of the same images, or no configuration can be trained.
        """
        manifests: dict[str, Manifest] = {}
        datasets: dict[str, str] = {}
        for data in config.data:
            manifest = read_manifest(data)
            equalization = str(manifest.options["equalization"])
            if equalization in datasets:
                raise UsageError(
                    f"--data {data}: has the equalization {equalization} as {datasets[equalization]} has; several "
                    "datasets are to choose the equalization from"
                )
            manifests[equalization], datasets[equalization] = manifest, data
        sizes = _common_sizes(manifests, datasets)
        preset = preset_in(train_flags)
        shared = _parse(train_flags, config)
        space = resolve(config, shared["arch"], sizes, list(datasets), preset)
        job = cls(config, {**shared, **space.fixed}, space, datasets, manifests)
        job._check()
        return job

    @cached_property
    def possible(self) -> list[dict[str, Any]]:
        """The combinations that can be trained, in the order of the grid; a range stands there with its low end."""
        return [values for values in self.space.combinations() if self.reason_against(values) is None]

    @property
    def impossible(self) -> dict[str, list[dict[str, Any]]]:
        """The combinations that can't, by reason."""
        found: dict[str, list[dict[str, Any]]] = {}
        for values in self.space.combinations():
            if (reason := self.reason_against(values)) is not None:
                found.setdefault(reason, []).append(values)
        return found

    @property
    def num_combinations(self) -> int | None:
        """How many configurations there are that can be trained; None if a range has no end of them."""
        return None if self.space.ranges else len(self.possible)

    @property
    def max_epochs(self) -> int:
        """Of a trial, over both phases."""
        is_transfer = self.flags["arch"] not in FROM_SCRATCH
        epochs: int = self.flags["epochs"] + (self.flags["fine_tune_epochs"] if is_transfer else 0)
        return epochs

    def train_config(self, values: Values, output: str | Path) -> TrainConfig:
        """The flags of a trial that trains from the start.

        Args:
            values: of the trial.
            output: its run folder.

        Raises:
            UsageError: this can't be trained.
        """
        chosen = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        data = self.datasets[chosen.pop(EQUALIZATION, next(iter(self.datasets)))]
        config = TrainConfig(**{**self.flags, **chosen, "data": data, "output": str(output)})
        if "tuner/epochs" not in values:
            return config
        # Of a training in two phases, few epochs are those that it begins with.
        epochs = min(values["tuner/epochs"], config.epochs)
        more = max(values["tuner/epochs"] - config.epochs, 0)
        fine_tune_epochs = min(more, config.fine_tune_epochs)
        return TrainConfig(**{**asdict(config), "epochs": epochs, "fine_tune_epochs": fine_tune_epochs})

    def reason_against(self, values: Values) -> str | None:
        """Why a combination can't be trained, in one line; None if nothing is known against it."""
        try:
            config = self.train_config(values, "OUTPUT")
            manifest = self.manifests[values.get(EQUALIZATION, next(iter(self.manifests)))]
            if config.fold is None:
                check_trainable(manifest.splits, config.batch_size)
        except UsageError as error:
            return " ".join(str(error).split())
        return None

    def to_json(self) -> dict[str, Any]:
        """The content of `sweep.json`."""
        return {
            "objective": self.config.objective,
            "direction": self.config.direction,
            "space": self.space.to_json(),
            "search": self.config.to_json(),
            "train": self.flags,
            "dataset_fingerprints": {name: manifest.fingerprint for name, manifest in self.manifests.items()},
        }

    def _check(self) -> None:
        if not self.possible:
            raise UsageError(next(iter(self.impossible)))
        for size in self.space.choices("image_size"):
            for equalization, manifest in self.manifests.items():
                for split in ("train", "val"):
                    open_split(self.datasets[equalization], manifest, size, split)
        for manifest in self.manifests.values():
            if self.flags["fold"] is not None:
                continue  # of which each trial knows
            check_threshold_rule(manifest.splits, self.flags["threshold_rule"])
            counts = manifest.splits["val"].class_counts
            if self.config.objective in BOTH_CLASSES and not all(counts.values()):
                raise UsageError(
                    f"--objective {self.config.objective} needs validation images of both classes, found {counts}; "
                    "take val_loss or val_accuracy, or prepare with a larger --val_fraction"
                )


def _parse(train_flags: Sequence[str], config: SearchConfig) -> dict[str, Any]:
    """The flags that all trials share, as the command line and the search have them."""
    flags = asdict(shared_flags("python -m tuning search", config.data[0], config.output, train_flags))
    for field in fields(TrainConfig):
        if field.name in NOT_OF_TRIALS and flags[field.name] != field.default:
            raise UsageError(f"--{field.name} is nothing that a trial takes; leave it out")
    for name in ("config", "preset", "data", "output"):
        del flags[name]
    return flags | {
        "seed": config.seed,
        "early_stopping_patience": config.early_stopping_patience,
        "evaluate_test": False,
    }


def _common_sizes(manifests: Mapping[str, Manifest], datasets: Mapping[str, str]) -> list[int]:
    """The image sizes that all datasets hold, px.

    Raises:
        UsageError: they are not of the same images, or have no size in common.
    """
    first, *others = manifests
    for other in others:
        for split in ("train", "val"):
            one, two = (manifests[name].splits[split].class_counts for name in (first, other))
            if one != two:
                raise UsageError(
                    f"--data {datasets[first]} {datasets[other]}: not of the same images: {split} holds {one} and "
                    f"{two}; prepare both from one input with the same fractions"
                )
    sizes = set.intersection(*(set(manifest.image_sizes) for manifest in manifests.values()))
    if not sizes:
        raise UsageError(
            f"--data {' '.join(datasets.values())}: no image size is in all of them; prepare them with the same"
        )
    return sorted(sizes)
