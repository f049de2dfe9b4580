"""Defines the flags of `search` and `show`: types, defaults, units and help in one place. Standard library only.

All other flags of `search` are flags of `trainer train` for every trial; `trials/sweep_job.py` parses them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from beam_prep.console.command import FlagGroups
from beam_prep.console.command_line import check_at_least
from beam_prep.console.errors import UsageError

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
Objective = Literal[
    "val_auroc",
    "val_auprc",
    "val_accuracy",
    "val_sensitivity",
    "val_specificity",
    "val_loss",
    "val_brier",
    "val_ece",
    "external_auroc",
]

Direction = Literal["max", "min"]

MINIMIZED = ("val_loss", "val_brier", "val_ece")
"""The objectives that are minimized; all others are maximized."""

DEFAULT_TRIALS = 20
"""The number of trials of random and Bayesian search, unless --max_trials is given."""

DEFAULT_BATCH_SIZES = (16, 32, 64)
"""The batch sizes of a sweep, unless --batch_size is given."""

TOKEN_VARIABLE = "CXRFLOW_SWEEP_TOKEN"
"""The environment variable that may hold the token of a sweep, such as from a Secret of Kubernetes."""

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
    "oracle_cert",
    "oracle_key",
    "oracle_ca",
    "lease_s",
    "worker_timeout_s",
    "overwrite",
)
"""The flags of `search` that may change when a sweep is resumed, since they leave its trials as they are."""


@dataclass(frozen=True)
class SearchConfig:
    """Search for the best configuration of `trainer train`; the same command resumes an interrupted search.

    Every trial is a run of `trainer train` in OUTPUT/trials. Each searched flag takes a list of values; learning rates
    and dropout also take a range such as 1e-5:1e-2. All other flags of `trainer train` (--arch, --epochs, --strategy,
    …) apply to every trial. The settings of a --preset are fixed unless the command names values for them, and --seed
    and --early_stopping_patience are those of the search.
    """

    data: tuple[str, ...]
    """Dataset folder; of several folders that differ in their equalization, each trial uses one."""
    output: str
    """Folder of the sweep; it must be empty, absent, or hold the same sweep, see --overwrite."""
    algorithm: Algorithm = "random"
    """Algorithm that chooses configurations. grid: all of them; hyperband: many for few epochs, the best for more."""
    objective: Objective = "val_auroc"
    """Metric of the validation images to optimize: val_loss, val_brier and val_ece are minimized, others maximized.
    Several classes and findings have val_loss, val_auroc and val_auprc (means of all), and classes val_accuracy.
    external_auroc: the AUROC on the first set of --external, which counts as a development set. An objective that
    `trainer train --select_by` knows chooses the epoch that each trial keeps too; all others measure the epoch of the
    least validation loss."""
    max_trials: int = 0
    """Largest number of trials; 0: 20 (random, bayesian) or all (grid, hyperband)."""
    max_hours: float = 0.0
    """Hours of search after which no further trial starts; 0: no limit."""
    image_size: tuple[str, ...] = ()
    """Image sizes to choose from, px; by default all sizes of the dataset."""
    batch_size: tuple[str, ...] = ()
    """Global batch sizes to choose from; by default 16, 32 and 64, or the next that --num_replicas divides."""
    unfreeze_layers: tuple[str, ...] = ()
    """Depths of fine-tuning to choose from (vgg19, inception_resnet_v2); by default 5, 10 and 20."""
    learning_rate: tuple[str, ...] = ()
    """Learning rates of the first phase to choose from, or a range (drawn on a logarithmic scale)."""
    fine_tune_learning_rate: tuple[str, ...] = ()
    """Learning rates of fine-tuning to choose from, or a range (vgg19, inception_resnet_v2)."""
    dropout: tuple[str, ...] = ()
    """Rates of all dropout layers to choose from, or a range."""
    space: str | None = None
    """YAML file of the search space, each line a flag and its value, values or range; the command line wins."""
    early_stopping_patience: int = 5
    """Epochs without a better epoch by --select_by after which a phase of a trial ends; 0: never before its last
    epoch."""
    hyperband_factor: int = 3
    """Factor N of Hyperband: one configuration of N is kept, and trained for N times the epochs."""
    seed: int = 0
    """Seed of the search and of every trial."""
    retrain_best: bool = False
    """Train the best configuration at the end on train and validation together, and evaluate it once on test."""
    retrain_seeds: int = 0
    """Number of seeds to train the best configuration with at the end; each run is evaluated once on test."""
    warm_up: bool = True
    """Time a few steps of one configuration to estimate the cost in the plan; a chief does not."""
    role: Literal["auto", "alone", "chief", "worker"] = "auto"
    """Role of this process. chief: hands out trials. worker: runs them. alone: does both. auto: by the variables
    KERASTUNER_TUNER_ID (chief, worker-0, …), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT; alone without them."""
    worker_index: int = 0
    """Number of this worker, from 0; a worker that restarts under the same number resumes its trial."""
    oracle: str | None = None
    """Address of the chief, HOST:PORT, for the chief itself and every worker."""
    oracle_cert: str | None = None
    """PEM file of the certificate of the chief for its --oracle address; calls are then encrypted (TLS)."""
    oracle_key: str | None = None
    """PEM file of the private key of --oracle_cert."""
    oracle_ca: str | None = None
    """PEM file of the authority that signed --oracle_cert, or that certificate itself; workers know the chief by it."""
    lease_s: float = 120.0
    """Seconds without a heartbeat after which a worker counts as dead and another one resumes its trial."""
    worker_timeout_s: float = 1800.0
    """Seconds without any worker (or, for a worker, without the chief) after which the process gives up."""
    overwrite: bool = False
    """Replace the sweep in the output folder and all its trials."""

    flag_groups = FlagGroups(
        main=(
            *("data", "output", "algorithm", "objective", "max_trials", "max_hours"),
            *("learning_rate", "space", "retrain_best", "overwrite"),
        ),
        groups={
            "search": (
                *("data", "algorithm", "objective", "max_trials", "max_hours", "hyperband_factor"),
                *("early_stopping_patience", "seed", "retrain_best", "retrain_seeds", "warm_up"),
            ),
            "space": (
                *("image_size", "batch_size", "unfreeze_layers", "learning_rate", "fine_tune_learning_rate"),
                *("dropout", "space"),
            ),
            "workers": (
                *("role", "worker_index", "oracle", "oracle_cert", "oracle_key", "oracle_ca"),
                *("lease_s", "worker_timeout_s"),
            ),
            "files": ("output", "overwrite"),
        },
    )

    def __post_init__(self) -> None:
        if not self.data:
            raise UsageError("--data is missing; name a dataset folder, as beam_prep prepare wrote it")
        check_at_least(self, max_trials=0, max_hours=0, early_stopping_patience=0, hyperband_factor=2, seed=0)
        check_at_least(self, retrain_seeds=0, worker_index=0, lease_s=1, worker_timeout_s=1)
        if self.retrain_best and self.retrain_seeds:
            raise UsageError("--retrain_best and --retrain_seeds both evaluate on test; choose one of them")
        if self.oracle is not None:
            parse_address(self.oracle)
        if self.role in ("chief", "worker") and self.oracle is None:
            raise UsageError(f"--role {self.role} needs --oracle HOST:PORT, the address of the chief")
        if (self.oracle_cert is None) != (self.oracle_key is None):
            raise UsageError("--oracle_cert and --oracle_key belong together; give both, or none")

    @property
    def direction(self) -> Direction:
        """The direction of the objective: "max" if larger is better, "min" if smaller is."""
        return "min" if self.objective in MINIMIZED else "max"

    @property
    def limits(self) -> list[float]:
        """The limits of the search, trials and hours; a search that has ended resumes when they are raised."""
        return [self.max_trials, self.max_hours]

    def to_json(self) -> dict[str, Any]:
        """Returns the flags that `sweep.json` keeps: all but `overwrite`."""
        flags = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in flags.items() if name != "overwrite"}


@dataclass(frozen=True)
class ShowConfig:
    """Show the trials of a sweep and the best configuration so far; also while the search runs."""

    sweep: str
    """Folder of the sweep."""


def parse_address(address: str) -> tuple[str, int]:
    """Splits HOST:PORT into host and port.

    Raises:
        UsageError: the address has another form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--oracle is {address}; expected HOST:PORT such as 10.0.0.5:8000")
    return host, int(port)
