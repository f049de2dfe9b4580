"""Writes the sweep page, a self-contained HTML page with the results of the trials so far."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beam_prep.pages.origin import Origin, day_of, link_to, link_to_report
from beam_prep.pages.page import render, write_page
from trainer.run.folder import RunFolder
from trainer.run.metric_titles import METRIC_TITLES
from tuning.report import figures
from tuning.report.analysis import pareto_front
from tuning.report.format import duration, memory, metric_title, number, rate, setting
from tuning.report.hparams import write_hparams
from tuning.report.results import (
    Sweep,
    final_results,
    objective_interval,
    objective_of,
    remarks_on_best,
    search_command,
    train_command,
    write_best_config,
    write_trials_csv,
)
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.trial import Trial

METRICS = ("auroc", "accuracy", "sensitivity", "specificity", "loss")
"""The metrics of the validation split in the table of trials, beside the objective."""


def write_results(sweep: Sweep) -> Path:
    """Writes the results of a sweep: `trials.csv`, `best_config.json`, `tensorboard/`, and last the page.

    Returns:
        The path of the page.

    Raises:
        RunError: a file can't be written.
    """
    write_trials_csv(sweep)
    write_best_config(sweep)
    write_hparams(sweep)
    return write_sweep_page(sweep)


def write_sweep_page(sweep: Sweep) -> Path:
    """Writes `report.html` into the folder of a sweep; the same trials give the same bytes.

    Returns:
        The path of the page.
    """
    columns = [name for name in METRICS if name != sweep.objective.removeprefix("val_")]
    columns = [name for name in columns if any(name in trial.metrics for trial in sweep.trials)]
    fronts = {
        "time": pareto_front(sweep, lambda trial: trial.seconds),
        "memory": pareto_front(sweep, lambda trial: trial.peak_memory_bytes),
    }
    html = render(
        "tuning.report",
        "sweep.html.j2",
        origin=_origin(sweep),
        name=sweep.path.resolve().name,
        title=metric_title(sweep.objective),
        remarks=remarks_on_best(sweep),
        final=[_final(sweep, *each) for each in final_results(sweep).items()],
        final_titles=[METRIC_TITLES[name] for name in METRICS],
        sweep=sweep,
        best=_best(sweep),
        counts={state: len(sweep.in_state(state)) for state in ("done", "failed", "running", "stopped")},
        undefined=[trial.trial_id for trial in sweep.in_state("done") if trial not in sweep.ranked],
        total_time=duration(sum(trial.seconds or 0.0 for trial in sweep.trials)),
        command=train_command(sweep),
        columns=[metric_title(f"val_{name}") for name in columns],
        rows=[_row(sweep, trial, columns) for trial in (*sweep.ranked, *sweep.in_state("running", "stopped"))],
        failed=[_failed(sweep, trial) for trial in sweep.in_state("failed")],
        reasons=Counter(trial.reason or "no reason given" for trial in sweep.in_state("failed")).most_common(),
        words={name for trial in sweep.trials for name, value in trial.values.items() if isinstance(value, str)},
        fronts=fronts,
        space={name: setting(value) for name, value in sweep.space.items()},
        **_figures(sweep),
    )
    path = sweep.path / "report.html"
    write_page(path, html)
    return path


def _origin(sweep: Sweep) -> Origin:
    """Returns the origin of a sweep: the days of its trials, the command of the search, the pages of its datasets."""
    begun = [day_of(trial.started) for trial in sweep.trials]
    ended = [day_of(trial.started + (trial.seconds or 0.0)) for trial in sweep.trials]
    data = sweep.search.get("data", [])
    places = map(str, data if isinstance(data, list) else [data])
    links = [link_to_report("Dataset", place, sweep.path, home=sweep.location) for place in places]
    first, last = min(begun, default=None), max(ended, default=None)
    return Origin("searched", first, last, search_command(sweep), tuple(links))


def _final(sweep: Sweep, name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of a run that retrained the best configuration."""
    intervals = {key: numbers.get(f"{key}_ci95") for key in METRICS}
    return {
        "name": name,
        "link": link_to("", "", RunFolder(SweepFolder(sweep.path).final / name).report, sweep.path).address,
        "cells": [
            (number(numbers.get(key)), f"{bounds[0]:.4f}–{bounds[1]:.4f}" if bounds else "")
            for key, bounds in intervals.items()
        ],
    }


def _figures(sweep: Sweep) -> dict[str, Any]:
    """Draws the figures of the page; they are None or empty if no trial has an objective."""
    if not sweep.ranked:
        return {"progress": None, "parallel": None, "effects": {}, "time": None, "memory": None}
    cost = figures.cost_against_objective
    return {
        "progress": figures.progress(sweep),
        "parallel": figures.parallel_coordinates(sweep),
        "effects": figures.effects(sweep),
        "time": cost(sweep, lambda trial: trial.seconds, figures.time_axis),
        "memory": cost(sweep, lambda trial: trial.peak_memory_bytes, figures.memory_axis),
    }


def _best(sweep: Sweep) -> dict[str, Any] | None:
    """Returns the entries of the best trial, with its interval and the number of trials within it."""
    if (best := sweep.best) is None:
        return None
    interval = objective_interval(sweep, best)
    within = sum(interval[0] <= objective_of(trial) <= interval[1] for trial in sweep.ranked) if interval else None
    flags = {name: value for name, value in best.flags.items() if name not in best.values}
    return {
        **_row(sweep, best, []),
        "interval": f"{interval[0]:.4f}–{interval[1]:.4f}" if interval else None,
        "num_within": within,
        "values": {name: setting(value) for name, value in best.values.items()},
        "flags": {name: setting(value) for name, value in flags.items()},
    }


def _row(sweep: Sweep, trial: Trial, columns: list[str]) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "link": _link(sweep, trial),
        "state": trial.state,
        "objective": number(trial.objective),
        "values": _values(sweep, trial),
        "metrics": [number(trial.metrics.get(name)) for name in columns],
        "seconds": trial.seconds,
        "time": duration(trial.seconds),
        "memory": memory(trial.peak_memory_bytes),
        "rate": rate(trial.images_per_s),
        "epochs": trial.epochs,
        "worker": trial.worker,
    }


def _failed(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    return {"trial_id": trial.trial_id, "reason": trial.reason, "values": _values(sweep, trial), "worker": trial.worker}


def _values(sweep: Sweep, trial: Trial) -> list[tuple[str, str, str]]:
    """Returns name, sort key and text of each hyperparameter; key and text are empty if the trial has no value."""
    return [
        (name, json.dumps(trial.values[name]), setting(trial.values[name])) if name in trial.values else (name, "", "")
        for name in sweep.hyperparameters
    ]


def _link(sweep: Sweep, trial: Trial) -> str | None:
    """Returns the link to the page of a trial; None if there is no such page."""
    page = sweep.run_folder(trial) / "report.html"
    return page.relative_to(sweep.path).as_posix() if page.is_file() else None
