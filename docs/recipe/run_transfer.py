"""Trains every setting of transfer.json and evaluates it on images of other sources than the training's.

    python docs/recipe/run_transfer.py --data DATASET --development DATASET --external DATASET --output RUNS

Each training is one `trainer train --no_evaluate_test` on the dataset of `--data`; the test splits of the two other
datasets are evaluated on by `trainer evaluate`. The same command resumes where it was stopped, and only reads what is
finished.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from run_experiments import flags_of, run_trainer, write_csv

from beam_prep.dataset.manifest import Manifest

PLAN = Path(__file__).with_name("transfer.json")
"""The flags by setting; before them come those of all settings and those of the setting that is named by `on`."""


@dataclass(frozen=True)
class Options:
    """The flags of the experiments."""

    data: Path
    """Dataset of the train folder, as `beam_prep prepare` wrote it."""
    development: Path
    """Dataset of the development test, which the settings are chosen by and never trained on."""
    external: Path
    """Dataset of another hospital, which chooses nothing."""
    output: Path
    """Folder for the tables and the runs: a folder for each setting, and in it one for each seed and each fold."""
    only: tuple[str, ...] = ()
    """Names of the settings to train; all if none is given."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings of each setting."""
    folds: int = 0
    """Number of folds of patients that each setting is trained on, with seed 0, in place of the seeds; 0: none."""


@dataclass(frozen=True)
class Transfer:
    """The result of one training, such as seed-0 or fold-1, on one set, at the threshold of the run."""

    setting: str
    training: str
    set: str
    auroc: float
    accuracy: float
    sensitivity: float
    specificity: float


def main(options: Options) -> None:
    """Trains the missing runs, evaluates them, then writes transfer.csv and the tables from all runs."""
    plan: dict[str, Any] = json.loads(PLAN.read_text(encoding="utf-8"))
    others = {"development": options.development, "external": options.external}
    trainings = {f"seed-{seed}": ("--seed", str(seed)) for seed in options.seeds}
    if options.folds:
        folds = range(1, options.folds + 1)
        trainings = {f"fold-{fold}": ("--seed", "0", "--fold", f"{fold}/{options.folds}") for fold in folds}
    for training, own_flags in trainings.items():
        for name in options.only or plan["settings"]:
            run = options.output / name / training
            if not (run / "metrics.json").is_file():
                flags = [*plan["common"], *flags_of(name, plan["settings"]), *own_flags]
                run_trainer("train", "--data", options.data, "--output", run, "--no_evaluate_test", *flags)
            for data in others.values():
                if not _metrics_on(run, data).is_file():
                    run_trainer("evaluate", "--run", run, "--data", data)
    rows = list(_results(options.output, plan["settings"], others))
    write_csv(Transfer, rows, options.output / "transfer.csv")
    for of in ("seed", "fold"):
        (options.output / f"{of}s.md").write_text(transfer_table(rows, plan["settings"], of), encoding="utf-8")


def _metrics_on(run: Path, data: Path) -> Path:
    """Returns the place of the metrics of a run on another dataset."""
    return run / "evaluations" / Manifest.read(data).fingerprint[:12] / "metrics.json"


def _results(folder: Path, settings: dict[str, Any], others: dict[str, Path]) -> Iterator[Transfer]:
    """Yields the results of all finished runs, in the order of the plan."""
    for name in settings:
        for run in sorted((folder / name).glob("*-*")):
            places = {"validation": (run / "metrics.json", "val")}
            places |= {other: (_metrics_on(run, data), "test") for other, data in others.items()}
            for each, (path, split) in places.items():
                if path.is_file():
                    found = json.loads(path.read_text(encoding="utf-8"))[split]
                    numbers = (found[metric] for metric in ("auroc", "accuracy", "sensitivity", "specificity"))
                    yield Transfer(name, run.name, each, *(round(number, 4) for number in numbers))


def transfer_table(rows: Sequence[Transfer], settings: dict[str, Any], of: str) -> str:
    """Returns a table of the means over the trainings of a kind: a row a setting, best on the development test last.

    Args:
        rows: the results.
        settings: the settings by name.
        of: the kind of the trainings, seed or fold.
    """
    rows = [row for row in rows if row.training.startswith(of)]
    lines = [
        f"| setting | what | {of}s | validation: AUROC | development: AUROC | accuracy | sensitivity | specificity "
        "| external: AUROC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    trained = [name for name in settings if any(row.setting == name for row in rows)]
    for name in sorted(trained, key=lambda name: _values(rows, name, "development", "auroc")[0]):
        development = " | ".join(
            _shown(rows, name, "development", metric, digits)
            for metric, digits in (("auroc", 4), ("accuracy", 3), ("sensitivity", 3), ("specificity", 3))
        )
        lines.append(
            f"| {name} | {settings[name]['what']} | {len({row.training for row in rows if row.setting == name})} "
            f"| {_shown(rows, name, 'validation', 'auroc', 4)} | {development} "
            f"| {_shown(rows, name, 'external', 'auroc', 3)} |"
        )
    return "\n".join(lines) + "\n"


def _values(rows: Sequence[Transfer], setting: str, on: str, metric: str) -> tuple[float, float]:
    """Returns the mean and the standard deviation of a metric over the trainings; 0 for the deviation of one."""
    values = [getattr(row, metric) for row in rows if (row.setting, row.set) == (setting, on)]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _shown(rows: Sequence[Transfer], setting: str, on: str, metric: str, digits: int) -> str:
    mean, spread = _values(rows, setting, on, metric)
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread else "")


if __name__ == "__main__":
    main(tyro.cli(Options))
