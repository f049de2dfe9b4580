"""Retrains the best configuration after the search, and evaluates it on the test split once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from beam_prep.console.errors import RunError, Terminated
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder, read_history
from trainer.run.identity import WITHOUT_EFFECT
from trainer.run.model_card import ModelCard
from tuning.config import SearchConfig
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trainer_process import is_finished, lock_run, run_trainer
from tuning.trials.trial import Trial


def retrain(job: SweepJob, best: Trial, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Retrains the best configuration as the flags ask for; runs that are finished stay as they are.

    Args:
        job: the job of the sweep.
        best: the best trial.
        environ: the environment variables of the trainer processes.

    Returns:
        Name of the run in `final/` → its test metrics.

    Raises:
        RunError: a training failed, or a folder holds a run of another configuration.
        Terminated: a training was stopped; the same command resumes it.
    """
    metrics = {}
    for name, wanted in retrain_configs(job.config, best).items():
        run = job.folder.final / name
        run.mkdir(parents=True, exist_ok=True)
        with lock_run(run) as lock:
            _train(run, wanted, environ, lock)
        metrics[name] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    return metrics


def retrain_configs(config: SearchConfig, best: Trial) -> dict[str, TrainConfig]:
    """Returns the flags of each run in `final/`: name → flags.

    A training on train and validation together has no images left to choose by: each phase lasts as many epochs as the
    trial took to its best epoch, and the threshold is that of the trial's validation images; of findings, the
    rule is a probability for all of them and stays as it is.
    """
    folder = SweepFolder(config.output)
    base = TrainConfig(**{**best.flags, "evaluate_test": True})
    if config.retrain_seeds:
        seeds = range(base.seed, base.seed + config.retrain_seeds)
        return {f"seed-{seed}": replace(base, seed=seed, output=str(folder.final / f"seed-{seed}")) for seed in seeds}
    run = folder.trial(best.trial_id)
    card = ModelCard.read(RunFolder(run))
    point = card.operating_point
    epochs = _best_epochs(read_history(run), card.best or {}, *base.selected_by)
    return {
        "train-and-val": replace(
            base,
            output=str(folder.final / "train-and-val"),
            epochs=epochs[0],
            fine_tune_epochs=epochs[1] if len(epochs) > 1 else 0,
            early_stopping_patience=0,
            threshold_rule=base.threshold_rule if point.thresholds else _fixed(point.threshold),
            train_on_val=True,
            select_by=base.select_by if base.select_by == "external_auroc" else "val_loss",
            fold=None,
        )
    }


def _fixed(threshold: float) -> str:
    """Returns the rule for a threshold; one that calls all images alike is moved into 0..1, as rules have to be."""
    return repr(min(max(threshold, math.ulp(0.0)), math.nextafter(1.0, 0.0)))


def _best_epochs(
    history: list[dict[str, Any]], best: Mapping[str, Any], column: str, direction: Literal["min", "max"]
) -> list[int]:
    """Returns the best epoch of each phase by a column of `history.csv`, up to the phase of the model that was kept."""
    better = min if direction == "min" else max
    epochs = []
    for phase in dict.fromkeys(row["phase"] for row in history):
        rows = [row for row in history if row["phase"] == phase]
        epochs.append(better(rows, key=lambda row: row[column])["epoch"])
        if phase == best["phase"]:
            break
    return epochs


def _train(run: Path, wanted: TrainConfig, environ: Mapping[str, str], lock: int) -> None:
    if is_finished(run):
        flags = json.loads((run / "config.json").read_text(encoding="utf-8"))
        differing = [name for name, value in asdict(wanted).items() if flags.get(name, value) != value]
        if differing := [name for name in differing if name not in WITHOUT_EFFECT]:
            raise RunError(
                f"{run}: holds a run of an earlier best configuration (other {', '.join(differing)}), which was "
                "evaluated on test; remove it to train the current best"
            )
        return
    attempt = run_trainer(run, wanted.to_json(), environ=environ, inherit=(lock,))
    if attempt.was_stopped:
        raise Terminated(f"the training of {run} was stopped; the same command resumes it")
    if attempt.reason is not None:
        raise RunError(f"{run}: {attempt.reason}")
