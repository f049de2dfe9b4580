"""Defines the checked flags of `train`. Standard library only.

The flags themselves are in `config/train_flags.py`, those of the commands for finished runs in `config/commands.py`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from beam_prep.console.command_line import check_at_least
from beam_prep.console.errors import UsageError
from trainer.config.fold import Fold
from trainer.config.threshold_rule import parse_rule
from trainer.config.tracking_uri import check_uri, without_login
from trainer.config.train_flags import DEFAULT_BATCH_SIZE, TrainFlags

MIN_IMAGE_SIZE: dict[str, int] = {
    "baseline_cnn": 16,
    "se_resnet": 32,
    "se_resnet_small": 32,
    "vgg19": 32,
    "inception_resnet_v2": 75,
}
"""The smallest image size of each network, px; the strides leave nothing of a smaller image."""

FROM_SCRATCH = ("baseline_cnn", "se_resnet", "se_resnet_small")
"""The networks without pretrained weights, which train in one phase."""


@dataclass(frozen=True)
class TrainConfig(TrainFlags):
    """Train a network on a prepared dataset, evaluate it and write its report.

    The defaults are the settings of the study; `--preset best` did better on the images that it was chosen by
    (docs/recipe.md). `vgg19` and `inception_resnet_v2` train a new head on the frozen network first, then the last
    layers of the network with it.
    """

    def __post_init__(self) -> None:
        self._translate_old_values()
        check_at_least(
            self,
            batch_size=1,
            epochs=1,
            fine_tune_epochs=0,
            unfreeze_layers=0,
            num_replicas=0,
            plateau_patience=1,
            early_stopping_patience=0,
            steps_per_call=0,
            skip_corrupt=0,
            checkpoint_every_steps=0,
            stage_max_bytes=0,
            rotation_degrees=0,
            zoom=0,
            shift=0,
            gamma=0,
            contrast=0,
            brightness=0,
            sharpness=0,
            local_contrast=0,
            border=0,
            downsample=0,
            noise=0,
            jpeg_quality=0,
            seed=0,
            weight_decay=0,
            warmup_epochs=0,
            label_smoothing=0,
            ema_decay=0,
            mixup_alpha=0,
            cutout=0,
        )
        for name in ("zoom", "brightness", "noise", "label_smoothing", "ema_decay", "cutout"):
            if getattr(self, name) >= 1:
                raise UsageError(f"--{name} is {getattr(self, name)}; expected less than 1")
        for name, most in (("border", 0.5), ("local_contrast", 1), ("jpeg_quality", 100)):
            if getattr(self, name) > most:
                raise UsageError(f"--{name} is {getattr(self, name)}; expected {most} at most")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UsageError(f"--clip_norm is {self.clip_norm}; expected more than 0, such as 1")
        self._check_schedule()
        self._check_external()
        for name in ("learning_rate", "fine_tune_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < 10:
                raise UsageError(f"--{name} is {rate}; expected more than 0, such as 1e-4")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"--dropout is {self.dropout}; expected a rate from 0 to less than 1")
        if self.image_size < MIN_IMAGE_SIZE[self.arch]:
            raise UsageError(
                f"--image_size is {self.image_size}; {self.arch} needs at least {MIN_IMAGE_SIZE[self.arch]} px"
            )
        kind = parse_rule(self.threshold_rule).kind
        if self.fold is not None:
            Fold.parse(self.fold)
        if self.fold is not None and self.holdout_domain is not None:
            raise UsageError(
                f"--holdout_domain {self.holdout_domain} and --fold {self.fold} divide the images in two ways; leave "
                "one of them out"
            )
        if self.sampler == "balanced" and self.shard_files:
            raise UsageError(
                "--sampler balanced draws from all shards, --shard_files gives a worker only some; leave one out"
            )
        if self.train_on_val:
            self._check_without_validation(kind)
        check_prevalence(self.prevalence)
        if self.feature_cache == "on" and self.arch in FROM_SCRATCH:
            raise UsageError(
                f"--feature_cache on needs a pretrained network (vgg19, inception_resnet_v2), found --arch {self.arch}"
            )
        if self.feature_cache == "on" and self.shard_files:
            raise UsageError(
                "--feature_cache on takes all images, --shard_files gives a worker only some; leave one out"
            )
        if self.cache_dir is not None and self.cache != "disk":
            raise UsageError(f"--cache_dir {self.cache_dir} needs --cache disk; found --cache {self.cache}")
        if self.stage_dir is not None and self.cache == "disk":
            raise UsageError("--stage_dir and --cache disk both copy the shards to a local disk; leave one of them out")
        if self.stage_max_bytes and self.stage_dir is None:
            raise UsageError(f"--stage_max_bytes {self.stage_max_bytes} needs --stage_dir, which is missing")
        if self.track_uri is not None:
            if self.track is None:
                raise UsageError(f"--track_uri {without_login(self.track_uri)} needs --track mlflow, which is missing")
            check_uri("--track_uri", self.track_uri, is_kept=True)
        self.check_replicas(max(self.num_replicas, 1))
        if self.strategy == "none" and self.num_replicas > 1:
            raise UsageError(f"--strategy none runs one replica, --num_replicas asks for {self.num_replicas}")

    def _translate_old_values(self) -> None:
        """Replaces the truth values that `jit_compile` had in older versions, and the other name of bfloat16."""
        if isinstance(self.jit_compile, bool):
            object.__setattr__(self, "jit_compile", "on" if self.jit_compile else "off")
        if self.mixed_precision:
            if self.precision == "float32":
                raise UsageError("--mixed_precision computes in bfloat16, --precision asks for float32; leave one out")
            object.__setattr__(self, "precision", "bfloat16")
            object.__setattr__(self, "mixed_precision", False)
        object.__setattr__(self, "external", tuple(self.external))  # a list in JSON

    @property
    def external_sets(self) -> dict[str, str]:
        """The folders of `external` by the names of the sets, which are those of the folders."""
        return {name_of_set(path): path for path in self.external}

    @property
    def selected_by(self) -> tuple[str, Literal["min", "max"]]:
        """The column of `history.csv` that `select_by` names, and the direction in which it is better."""
        if self.select_by == "external_auroc":
            return f"external_{next(iter(self.external_sets))}_auroc", "max"
        return self.select_by, "min" if self.select_by == "val_loss" else "max"

    def _check_external(self) -> None:
        if len(self.external_sets) < len(self.external):
            raise UsageError(
                f"--external names two folders of one name: {', '.join(self.external)}; rename one, as sets are told "
                "apart by the names of their folders"
            )
        if self.select_by == "external_auroc" and not self.external:
            raise UsageError("--select_by external_auroc needs --external, which is missing; name a dataset folder")

    def _check_schedule(self) -> None:
        if self.warmup_epochs and self.schedule != "cosine":
            raise UsageError(f"--warmup_epochs needs --schedule cosine; found --schedule {self.schedule}")
        if self.warmup_epochs and self.warmup_epochs >= min(self.epochs_by_phase):
            raise UsageError(
                f"--warmup_epochs is {self.warmup_epochs}; expected fewer than in each phase: {self.epochs_by_phase}"
            )
        if self.continue_from is not None and self.schedule == "cosine":
            raise UsageError("--continue_from: a longer --schedule cosine begins otherwise than a shorter one")

    @property
    def division(self) -> Fold | None:
        """The fold, or the domain that is held out; None if the splits are those of the dataset."""
        if self.holdout_domain is not None:
            return Fold.holding_out(self.holdout_domain)
        return None if self.fold is None else Fold.parse(self.fold)

    @property
    def epochs_by_phase(self) -> tuple[int, ...]:
        """The epochs of each phase: of the only one, or of the head and of fine-tuning."""
        if self.arch in FROM_SCRATCH or not (self.fine_tune_epochs and self.unfreeze_layers):
            return (self.epochs,)
        return (self.epochs, self.fine_tune_epochs)

    def _check_without_validation(self, rule: str) -> None:
        if rule != "fixed":
            raise UsageError(
                f"--train_on_val leaves no images to choose --threshold_rule {self.threshold_rule} on; give the "
                "threshold of a run that validated, from its model.json"
            )
        if self.select_by in ("val_accuracy", "val_auroc"):
            raise UsageError(
                f"--select_by {self.select_by} needs validation images, which --train_on_val trains on; leave one out"
            )
        if self.early_stopping_patience and self.select_by == "val_loss":
            raise UsageError(
                f"--early_stopping_patience {self.early_stopping_patience} needs validation images, which "
                "--train_on_val trains on; give the --epochs of a run that validated"
            )
        if self.fold is not None:
            raise UsageError(f"--train_on_val leaves nothing to validate --fold {self.fold} on; leave one out")
        if not self.evaluate_test and not self.external:
            raise UsageError("--train_on_val with --no_evaluate_test leaves nothing to evaluate on; leave one out")

    @property
    def global_batch_size(self) -> int:
        """The number of images in a step over all replicas; the default if `batch_size` states no number (yet)."""
        return self.batch_size if isinstance(self.batch_size, int) else DEFAULT_BATCH_SIZE

    def check_workers(self, num_workers: int) -> None:
        """Raises a `UsageError` if several workers are to train with a batch size that one of them would measure."""
        if num_workers > 1 and self.batch_size == "auto":
            raise UsageError(
                f"--batch_size auto measures one machine, {num_workers} workers train together; give a number"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the flags for `config.json`, without the file and the preset that they came from, and `overwrite`."""
        flags = {name: value for name, value in asdict(self).items() if name not in ("config", "preset", "overwrite")}
        return {**flags, "external": list(self.external), "batch_size": self.global_batch_size}


def name_of_set(data: str) -> str:
    """Returns the name of a set of another source: that of its folder, with letters that files can bear."""
    return re.sub(r"[^\w.-]", "_", data.rstrip("/").rpartition("/")[2]) or "external"


def check_prevalence(prevalence: float | None) -> None:
    """Raises a `UsageError` unless a prevalence is missing or a share between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError(f"--prevalence is {prevalence}; expected a share between 0 and 1, such as 0.1")
