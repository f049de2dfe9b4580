"""Reads how far the run or the sweep of a submission is, from its output folder; nothing heavy is loaded."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beam_prep.console.errors import CxrflowError
from beam_prep.console.escapes import printable
from beam_prep.storage.contained import check_contained
from beam_prep.storage.mirror import mirror_of
from k8s.cluster.status import StatusLine, work_of
from k8s.preflight.workload import workloads_of
from k8s.render.objects import Object

TRIAL_FILES = ("trials/*/trial.json", "trials/*/history.csv")


@dataclass(frozen=True)
class Output:
    """The output folder of a submission.

    Attributes:
        kind: the kind of output: a `run` or a `sweep`.
        shown: the folder as the pods name it.
        place: the folder as this machine sees it; None if only the pods see it.
    """

    kind: str
    shown: str
    place: str | None

    def line(self, state: str, detail: str = "", reason: str = "") -> StatusLine:
        """Returns the line of the folder in a status, under its last name: a whole path would widen the table."""
        return StatusLine(self.kind, posixpath.basename(self.shown.rstrip("/")), state, detail, reason)


def output_of(objects: Iterable[Object], given: str | None = None) -> Output | None:
    """Returns the output folder of a training or a sweep; None for other work.

    Args:
        objects: the objects of the submission.
        given: the folder as this machine sees it, if the user named it.
    """
    for workload in workloads_of(work_of(objects)):
        kind = {"trainer": "run", "tuning": "sweep"}.get(workload.package)
        if kind and (output := workload.flag("output", "")):
            return Output(kind, output, given or workload.url_of(output))
    return None


def read_progress(output: Output | None) -> list[StatusLine]:
    """Returns a line for a run with its last epoch, or lines for a sweep and each of its trials."""
    if output is None:
        return []
    if output.place is None:
        return [
            output.line("not read", reason=f"only the pods see {output.shown}; --output names it as seen from here")
        ]
    try:
        read = _of_run if output.kind == "run" else _of_sweep
        return read(output, output.place)
    except CxrflowError as error:
        return [output.line("not read", reason=str(error))]


def _of_run(output: Output, place: str) -> list[StatusLine]:
    folder = mirror_of(place).fetch("history.csv", "metrics.json")
    check_contained(folder, "history.csv")
    epoch = _last_epoch(folder)
    state = "evaluated" if (folder / "metrics.json").is_file() else "training" if epoch else "not begun"
    return [output.line(state, epoch)]


def _of_sweep(output: Output, place: str) -> list[StatusLine]:
    from tuning.report.results import read_sweep
    from tuning.report.table import summary

    folder = mirror_of(place).fetch("sweep.json", *TRIAL_FILES)
    check_contained(folder, "sweep.json")
    if not (folder / "sweep.json").is_file():
        return [output.line("not begun")]
    sweep = read_sweep(folder, place)
    undefined = [trial for trial in sweep.in_state("done") if trial not in sweep.ranked]
    trials = (*sweep.in_state("running", "stopped"), *sweep.ranked, *undefined, *sweep.in_state("failed"))
    lines = [output.line("begun", summary(sweep))]
    for trial in trials:
        worker = trial.worker if trial.state == "running" else ""
        result = f"{sweep.objective} {_number(trial.objective)}" if trial.state == "done" else ""
        detail = ", ".join(filter(None, (result, worker, _last_epoch(sweep.run_folder(trial)))))
        lines.append(StatusLine("trial", trial.trial_id, trial.state, detail, printable(trial.reason or "")))
    return lines


def _last_epoch(run: Path) -> str:
    """Returns the last epoch of a run with its AUROC on validation; an empty text before the first one has ended."""
    from trainer.run.folder import read_history

    rows = read_history(run)
    if not rows:
        return ""
    last = rows[-1]
    return printable(f"{last['phase']} epoch {last['epoch']}, val_auroc {_number(last['val_auroc'])}")


def _number(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"
