"""What `search` and `show` take: flags, types, defaults, units and help in one place. Standard library only.

All other flags of `search` are those of `trainer train`, for every trial; `trials/sweep_job.py` looks at them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from beam_prep.console.errors import UsageError

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
Objective = Literal[
    "val_auroc", "val_auprc", "val_accuracy", "val_sensitivity", "val_specificity", "val_loss", "val_brier", "val_ece"
]

MINIMIZED = ("val_loss", "val_brier", "val_ece")
"""The objectives of which less is better."""

DEFAULT_TRIALS = 20
"""Of random and Bayesian search."""

MAY_CHANGE = (
    "output",
    "max_trials",
    "max_hours",
    "retrain_best",
    "retrain_seeds",
    "warm_up",
    "role",
    "worker_index",
    "oracle",
    "lease_s",
    "worker_timeout_s",
    "overwrite",
)
"""Flags of `search` that may be others when a sweep is gone on with: the trials that there are stay what they are."""


@dataclass(frozen=True)
class SearchConfig:
    """Search for the best configuration of `trainer train`; the same command goes on with a search that was stopped.

    Every trial is a run of `trainer train` in OUTPUT/trials. What is searched takes values to choose from; rates and
    dropout also a range such as 1e-5:1e-2. All other flags of `trainer train` (--arch, --epochs, --strategy, …) go to
    every trial. --preset is where a search starts from: what it sets is varied only where it is named here as well, and
    --seed and --early_stopping_patience are those of the search.
    """

    data: tuple[str, ...]
    """Dataset folder; several that differ in their equalization are chosen from."""
    output: str
    """Folder of the sweep; it must be empty, absent, or of the same sweep, see --overwrite."""
    algorithm: Algorithm = "random"
    """How configurations are chosen. grid: each one; hyperband: many for few epochs, the best of them for more."""
    objective: Objective = "val_auroc"
    """What is to be best: a number of the validation images. Less is better of val_loss, val_brier and val_ece."""
    max_trials: int = 0
    """Trials at most; 0: 20 (random, bayesian), all that there are (grid, hyperband)."""
    max_hours: float = 0.0
    """Once the search has run for so many hours, it starts no further trial; 0: no limit."""
    image_size: tuple[str, ...] = ()
    """Image sizes to choose from, px; all of the dataset if not given."""
    batch_size: tuple[str, ...] = ()
    """Global batches to choose from; 16, 32 and 64 if not given."""
    unfreeze_layers: tuple[str, ...] = ()
    """Depths of fine-tuning to choose from (vgg19, inception_resnet_v2); 5, 10 and 20 if not given."""
    learning_rate: tuple[str, ...] = ()
    """Learning rates of the first phase, or a range of them (drawn by its logarithm)."""
    fine_tune_learning_rate: tuple[str, ...] = ()
    """Learning rates of fine-tuning, or a range of them (vgg19, inception_resnet_v2)."""
    dropout: tuple[str, ...] = ()
    """Rates of all dropout layers, or a range of them."""
    space: str | None = None
    """YAML file of these: a name and its value, list of values or range in each line; the command line wins."""
    early_stopping_patience: int = 5
    """Epochs without lower validation loss after which a phase of a trial ends; 0: it runs to its last epoch."""
    hyperband_factor: int = 3
    """Hyperband keeps one configuration of so many, and trains it for so many times the epochs."""
    seed: int = 0
    """Of the search, and of every trial."""
    retrain_best: bool = False
    """At the end, train the best configuration on train and validation together, and evaluate it on test, once."""
    retrain_seeds: int = 0
    """At the end, train the best configuration with so many seeds, and evaluate each on test, once."""
    warm_up: bool = True
    """Time some steps of one configuration before the plan is printed, for its estimate; a chief does not."""
    role: Literal["auto", "alone", "chief", "worker"] = "auto"
    """chief: hands out trials. worker: runs them. alone: both. auto: what the variables KERASTUNER_TUNER_ID (chief,
    worker-0, …), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT say; alone without them."""
    worker_index: int = 0
    """Number of this worker, from 0; started again under the same number, it goes on with its trial."""
    oracle: str | None = None
    """HOST:PORT of the chief, for the chief itself and every worker."""
    lease_s: float = 120.0
    """Seconds of silence after which a worker counts as dead: another one goes on with its trial."""
    worker_timeout_s: float = 1800.0
    """Seconds without any worker (or, for a worker, without the chief) after which the process gives up."""
    overwrite: bool = False
    """Replace the sweep that is in the output folder, with all its trials."""

    def __post_init__(self) -> None:
        if not self.data:
            raise UsageError("--data is missing; name a dataset folder, as beam_prep prepare wrote it")
        at_least = {
            "max_trials": 0,
            "max_hours": 0,
            "early_stopping_patience": 0,
            "hyperband_factor": 2,
            "seed": 0,
            "retrain_seeds": 0,
            "worker_index": 0,
            "lease_s": 1,
            "worker_timeout_s": 1,
        }
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise UsageError(f"--{name} is {getattr(self, name)}; expected at least {least}")
        if self.retrain_best and self.retrain_seeds:
            raise UsageError("--retrain_best and --retrain_seeds both look at test; choose one of them")
        if self.oracle is not None:
            parse_address(self.oracle)
        if self.role in ("chief", "worker") and self.oracle is None:
            raise UsageError(f"--role {self.role} needs --oracle HOST:PORT, the address of the chief")

    def check_shared(self) -> None:
        """Raises a `UsageError` if chief and workers can't write the output together."""
        if "://" in self.output:
            raise UsageError(
                f"--output {self.output}: chief and workers write it together; expected a shared folder that is "
                "mounted (NFS, a PersistentVolumeClaim); --data may be in a bucket, and so may all of a search alone"
            )

    @property
    def direction(self) -> Literal["max", "min"]:
        """Whether more of the objective is better, or less."""
        return "min" if self.objective in MINIMIZED else "max"

    @property
    def limits(self) -> list[float]:
        """What ends the search but the algorithm: trials and hours; it may go on where these are raised."""
        return [self.max_trials, self.max_hours]

    def to_json(self) -> dict[str, Any]:
        """The flags as `sweep.json` keeps them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class ShowConfig:
    """Show a sweep: its trials, the best so far, and what is left; also while it runs."""

    sweep: str
    """Folder of the sweep."""


def parse_address(address: str) -> tuple[str, int]:
    """HOST:PORT as host and port.

    Raises:
        UsageError: it is no such.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--oracle is {address}; expected HOST:PORT such as 10.0.0.5:8000")
    return host, int(port)
