"""Trains every setting of experiments.json on folds of patients, and writes tables and a plot of the results.

    python docs/recipe/run_experiments.py --data DATASET --output RUNS [--only NAME ...] [--folds 1 2 3]

Each training is one `trainer train --fold k/K --no_evaluate_test`, each ensemble one `trainer evaluate`, and each
measurement on spoilt images, of the settings of `--robust`, one `trainer evaluate --robustness`. The same command
resumes where it was stopped, and only reads what is finished. No test image is ever looked at.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PLAN = Path(__file__).with_name("experiments.json")
"""The flags by setting; before them come those of all settings and those of the setting that is named by `on`. An
ensemble names its members in `of`."""
NUM_FOLDS = 5


@dataclass(frozen=True)
class Options:
    """The flags of the experiments."""

    data: Path
    """Dataset of the real X-rays, as `beam_prep prepare` wrote it."""
    output: Path
    """Folder for tables, plot and runs: a folder for each setting, and in it one for each fold."""
    only: tuple[str, ...] = ()
    """Names of the settings to train; all if none is given."""
    folds: tuple[int, ...] = (1, 2, 3)
    """Folds of patients to train on, of 5."""
    robust: tuple[str, ...] = ()
    """Names of the settings whose runs are also measured on spoilt images."""
    clahe_data: Path | None = None
    """Dataset of the same images prepared with --equalize clahe; without it, settings that need it are left out."""


@dataclass(frozen=True)
class Result:
    """A training and the minutes that its epochs took, on a machine that may have had other work."""

    setting: str
    fold: int
    auroc: float
    accuracy: float
    loss: float
    minutes: float


@dataclass(frozen=True)
class Spoilt:
    """The result of one training on images that were spoilt in one way."""

    setting: str
    fold: int
    kind: str
    level: str
    auroc: float


def main(options: Options) -> None:
    """Trains the missing runs, then writes results, tables and recipe.png from all runs."""
    plan: dict[str, Any] = json.loads(PLAN.read_text(encoding="utf-8"))
    settings = plan["settings"]
    for fold in options.folds:  # all settings on one fold first: a table that was stopped early compares them all
        for name, setting in settings.items():
            data = options.clahe_data if setting.get("data") == "clahe" else options.data
            run = options.output / name / f"fold-{fold}"
            if data is None or (options.only and name not in options.only):
                continue
            common = ["--data", str(data)]
            if (run / "metrics.json").is_file():
                pass
            elif "of" in setting:
                members = [f"--run={options.output / member / run.name}" for member in setting["of"]]
                run_trainer("evaluate", *common, *members, "--output", str(run), "--split", "val", *setting["flags"])
            else:
                flags = ["--output", str(run), *plan["common"], *flags_of(name, settings)]
                run_trainer("train", *common, "--fold", f"{fold}/{NUM_FOLDS}", "--no_evaluate_test", *flags)
            if name in options.robust and "robustness" not in _metrics(run):
                run_trainer("evaluate", *common, "--run", str(run), "--split", "val", "--robustness")
    results, spoilt = list(_results(options.output, settings)), list(_spoilt(options.output, settings))
    write_csv(Result, results, options.output / "results.csv")
    write_csv(Spoilt, spoilt, options.output / "robustness.csv")
    tables = f"{table(results, settings)}\n{robustness_table(spoilt)}"
    (options.output / "tables.md").write_text(tables, encoding="utf-8")
    _plot(results, options.output / "recipe.png")


def flags_of(name: str, settings: dict[str, Any]) -> list[str]:
    """Returns the flags of a setting, after the flags of the setting that it extends; later flags win."""
    setting = settings[name]
    return [*(flags_of(setting["on"], settings) if "on" in setting else []), *setting["flags"]]


def run_trainer(*arguments: str | Path) -> None:
    """Runs a command of the trainer in a process of its own, and fails if it fails."""
    subprocess.run([sys.executable, "-m", "trainer", *map(str, arguments)], check=True)


def _finished(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[str, int, Path]]:
    """Yields setting, fold and folder of all finished runs, in the order of the plan, on the first setting's folds."""
    reference = next(iter(settings))
    for name in settings:
        for run in sorted((folder / name).glob("fold-*")):
            if (run / "metrics.json").is_file() and (folder / reference / run.name / "metrics.json").is_file():
                yield name, int(run.name.removeprefix("fold-")), run


def _metrics(run: Path) -> dict[str, Any]:
    """Returns the metrics of a run on its validation patients."""
    metrics: dict[str, dict[str, Any]] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics["val"]


def _results(folder: Path, settings: dict[str, Any]) -> Iterator[Result]:
    for name, fold, run in _finished(folder, settings):
        val = _metrics(run)
        minutes = sum(_minutes(folder / member / run.name) for member in settings[name].get("of", [name]))
        numbers = (val["auroc"], val["accuracy"], val["loss"], minutes)
        yield Result(name, fold, *(round(number, 4) for number in numbers))  # as they are in results.csv


def _spoilt(folder: Path, settings: dict[str, Any]) -> Iterator[Spoilt]:
    for name, fold, run in _finished(folder, settings):
        val = _metrics(run)
        if "robustness" in val:
            yield Spoilt(name, fold, "clean", "", round(val["auroc"], 4))
            for row in val["robustness"]:
                yield Spoilt(name, fold, row["kind"], row["level"], round(row["auroc"], 4))


def _minutes(run: Path) -> float:
    with (run / "history.csv").open(encoding="utf-8", newline="") as history:
        return sum(float(row["seconds"]) for row in csv.DictReader(history)) / 60


def write_csv(kind: type[DataclassInstance], rows: Sequence[DataclassInstance], path: Path) -> None:
    """Writes rows of one kind to a CSV file, whose header names the fields of the kind."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(kind.__dataclass_fields__)
        writer.writerows(astuple(each) for each in rows)


def table(results: list[Result], settings: dict[str, Any]) -> str:
    """Returns a table of all settings, best first by the mean difference of AUROC to the first one, paired by fold."""
    lines = [
        "| setting | what | folds | AUROC, mean ± spread | against the study, fold by fold | accuracy | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    gains = gains_of(results, next(iter(settings)))
    for name in sorted(gains, key=lambda name: -statistics.mean(gains[name])):
        rows = [each for each in results if each.setting == name]
        paired = " ".join(f"{gain:+.4f}" for gain in gains[name])
        spread = f" ± {statistics.stdev(each.auroc for each in rows):.4f}" if len(rows) > 1 else ""
        lines.append(
            f"| {name} | {settings[name]['what']} | {len(rows)} | {_mean(rows, 'auroc'):.4f}{spread} "
            f"| {paired} | {_mean(rows, 'accuracy'):.3f} | {_mean(rows, 'minutes'):.1f} |"
        )
    return "\n".join(lines) + "\n"


def gains_of(results: list[Result], reference: str) -> dict[str, list[float]]:
    """Returns the AUROC of each setting less that of the reference, in each fold, as folds are not equally hard."""
    known = {each.fold: each.auroc for each in results if each.setting == reference}
    gains: dict[str, list[float]] = {}
    for each in results:
        gains.setdefault(each.setting, []).append(each.auroc - known[each.fold])
    return gains


def robustness_table(spoilt: list[Spoilt]) -> str:
    """Returns a table of mean AUROC over the folds: a row for each way to spoil images, a column for each setting."""
    settings = list(dict.fromkeys(each.setting for each in spoilt))
    lines = [f"| images | {' | '.join(settings)} |", "|---|" + "---|" * len(settings)]
    for kind, level in dict.fromkeys((each.kind, each.level) for each in spoilt):
        of_kind = [each for each in spoilt if (each.kind, each.level) == (kind, level)]
        means = [statistics.mean(each.auroc for each in of_kind if each.setting == setting) for setting in settings]
        name = "as they are" if kind == "clean" else f"{kind} {level}"
        lines.append(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    spoilt = [each for each in spoilt if each.kind != "clean"]
    means = [statistics.mean(each.auroc for each in spoilt if each.setting == setting) for setting in settings]
    lines.append(f"| mean of all spoilt | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines) + "\n"


def _mean(rows: list[Result], name: str) -> float:
    return statistics.mean(getattr(each, name) for each in rows)


def _plot(results: list[Result], path: Path) -> None:
    from matplotlib.figure import Figure

    by_name: dict[str, list[Result]] = {}
    for each in results:
        by_name.setdefault(each.setting, []).append(each)
    gains = gains_of(results, results[0].setting)
    names = sorted(by_name, key=lambda name: statistics.mean(gains[name]))
    figure = Figure(figsize=(8, 0.35 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        axes.plot([each.auroc for each in by_name[name]], [row] * len(by_name[name]), "C0o", alpha=0.5)
        axes.plot(_mean(by_name[name], "auroc"), row, "k|", markersize=16)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("AUROC on the validation patients of each fold; the bar is the mean")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(tyro.cli(Options))
