"""The best configuration trained for use, after the search, and its one look at test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from beam_prep.console.errors import RunError, Terminated
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder, read_history
from trainer.run.identity import WITHOUT_EFFECT
from trainer.run.model_card import ModelCard
from tuning.config import SearchConfig
from tuning.trials.locks import Lock
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.trainer_process import is_finished, run_trainer
from tuning.trials.trial import Trial


def train_finally(config: SearchConfig, best: Trial, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Trains the best configuration as the flags ask for; what was trained before stays.

    Args:
        config: of the search.
        best: trial.
        environ: variables of the trainer's process.

    Returns:
        Name of the run in `final/` → its numbers on test.

    Raises:
        RunError: a training failed, or a run of another configuration is there.
        Terminated: it was stopped; the same command goes on.
    """
    folder = SweepFolder(config.output)
    found = {}
    for name, wanted in final_configs(config, best).items():
        run = folder.final / name
        run.mkdir(parents=True, exist_ok=True)
        with Lock(run / ".lock", f"a trainer still works on {run}") as lock:
            _train(run, wanted, environ, lock)
        found[name] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    return found


def final_configs(config: SearchConfig, best: Trial) -> dict[str, TrainConfig]:
    """Name of the run in `final/` → what it trains.

    On train and validation together there is nothing left to choose by: each phase is as long as it took the trial to
    its best epoch, and the threshold is the one that the trial's validation images gave.
    """
    folder = SweepFolder(config.output)
    base = TrainConfig(**{**best.flags, "evaluate_test": True})
    if config.retrain_seeds:
        seeds = range(base.seed, base.seed + config.retrain_seeds)
        return {f"seed-{seed}": replace(base, seed=seed, output=str(folder.final / f"seed-{seed}")) for seed in seeds}
    run = folder.trial(best.trial_id)
    card = ModelCard.read(RunFolder(run))
    epochs = _best_epochs(read_history(run), card.best or {})
    return {
        "train-and-val": replace(
            base,
            output=str(folder.final / "train-and-val"),
            epochs=epochs[0],
            fine_tune_epochs=epochs[1] if len(epochs) > 1 else 0,
            early_stopping_patience=0,
            threshold_rule=repr(card.threshold),
            train_on_val=True,
            fold=None,
        )
    }


def _best_epochs(history: list[dict[str, Any]], best: Mapping[str, Any]) -> list[int]:
    """The best epoch of each phase, up to the phase of the model that was kept."""
    epochs = []
    for phase in dict.fromkeys(row["phase"] for row in history):
        rows = [row for row in history if row["phase"] == phase]
        epochs.append(min(rows, key=lambda row: row["val_loss"])["epoch"])
        if phase == best["phase"]:
            break
    return epochs


def _train(run: Path, wanted: TrainConfig, environ: Mapping[str, str], lock: Lock) -> None:
    if is_finished(run):
        flags = json.loads((run / "config.json").read_text(encoding="utf-8"))
        differing = [name for name, value in asdict(wanted).items() if flags.get(name, value) != value]
        if differing := [name for name in differing if name not in WITHOUT_EFFECT]:
            raise RunError(
                f"{run}: holds a run of what was best before (other {', '.join(differing)}), which has looked at test; "
                "remove it to train what is best now"
            )
        return
    attempt = run_trainer(run, wanted.to_json(), environ=environ, inherit=(lock.fd,))
    if attempt.was_stopped:
        raise Terminated(f"the training of {run} was stopped; the same command goes on from there")
    if attempt.reason is not None:
        raise RunError(f"{run}: {attempt.reason}")
