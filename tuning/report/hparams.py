"""Writes the trials of a sweep for TensorBoard's HParams page, without TensorFlow.

Each trial is a TensorBoard run with its hyperparameters, state and metrics; the run above them lists all
hyperparameters and metrics. Every file is written anew, by rename, so that a trial never shows twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beam_prep.storage.output_folder import clear_written
from beam_prep.storage.paths import remove_if_empty
from trainer.run.folder import written
from tuning.report.format import setting
from tuning.report.results import Sweep
from tuning.trials.trial import Trial


def write_hparams(sweep: Sweep) -> Path:
    """Writes the folder `tensorboard/`, for `tensorboard --logdir SWEEP/tensorboard`.

    Returns:
        The path of the folder.

    Raises:
        RunError: a file can't be written.
    """
    from tensorboard.plugins.hparams import summary_v2 as hp

    folder = sweep.path / "tensorboard"
    folder.mkdir(exist_ok=True)
    begin = min((trial.started for trial in sweep.trials), default=0.0)
    metrics = dict.fromkeys(name for trial in sweep.trials for name in _metrics(sweep, trial))
    metrics = metrics or {sweep.objective: None}
    described = hp.hparams_config_pb(
        hparams=[hp.HParam(name, _domain(sweep, name)) for name in sweep.hyperparameters],
        metrics=[hp.Metric(name) for name in metrics],
        time_created_secs=begin,
    )
    _write_events(folder, begin, [described])
    for trial in sweep.trials:
        _write_events(folder / trial.trial_id, trial.started, _summaries(sweep, trial))
    _remove_others(folder, {trial.trial_id for trial in sweep.trials})
    return folder


def _summaries(sweep: Sweep, trial: Trial) -> list[Any]:
    from tensorboard.plugins.hparams import summary_v2 as hp
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    values = {name: _value(sweep, name, value) for name, value in trial.values.items()}
    summaries = [hp.hparams_pb(values, trial_id=trial.trial_id, start_time_secs=trial.started)]
    summaries += [scalar_pb(name, value) for name, value in _metrics(sweep, trial).items()]
    return [*summaries, _status(trial)]


def _status(trial: Trial) -> Any:
    """Makes the summary with the state of a trial, for which `hparams.summary_v2` has no function."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    states = {"done": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE, "running": api_pb2.STATUS_RUNNING}
    ended = trial.started + (trial.seconds or 0.0) if trial.has_ended else None
    end = plugin_data_pb2.SessionEndInfo(status=states.get(trial.state, api_pb2.STATUS_UNKNOWN), end_time_secs=ended)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _metrics(sweep: Sweep, trial: Trial) -> dict[str, float]:
    """Returns the known numbers of a trial: the objective first, then the metrics and the costs."""
    if trial.state != "done":
        return {}
    metrics = {f"val_{name}": value for name, value in trial.metrics.items()}
    costs = {"seconds": trial.seconds, "peak_memory_bytes": trial.peak_memory_bytes, "epochs": trial.epochs}
    known = {sweep.objective: trial.objective, **metrics, **costs}
    return {name: float(value) for name, value in known.items() if value is not None}


def _domain(sweep: Sweep, name: str) -> Any:
    from tensorboard.plugins.hparams import summary_v2 as hp

    values = {_value(sweep, name, trial.values[name]) for trial in sweep.trials if name in trial.values}
    if _is_numeric(sweep, name):
        return hp.RealInterval(min(values), max(values)) if values else None
    return hp.Discrete(sorted(values), dtype=str)


def _value(sweep: Sweep, name: str, value: Any) -> Any:
    """Converts a value for TensorBoard: to a number if all trials have numbers, else to text."""
    return float(value) if _is_numeric(sweep, name) else setting(value)


def _is_numeric(sweep: Sweep, name: str) -> bool:
    values = [trial.values[name] for trial in sweep.trials if name in trial.values]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _write_events(folder: Path, time_s: float, summaries: Sequence[Any]) -> None:
    """Writes the event file of a TensorBoard run, with the same time, in seconds since the epoch, on every event."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    with written(folder / "events.out.tfevents.sweep") as temporary, open(temporary, "wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=time_s, file_version="brain.Event:2").SerializeToString())
        for summary in summaries:
            writer.write(Event(wall_time=time_s, step=0, summary=summary).SerializeToString())


def _remove_others(folder: Path, trial_ids: set[str]) -> None:
    """Removes the runs of trials that no longer exist."""
    for run in folder.iterdir():
        if run.is_dir() and not run.is_symlink() and run.name not in trial_ids:
            clear_written(run, ("events.out.tfevents.*",))
            remove_if_empty(run)
