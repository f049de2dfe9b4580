import subprocess
import sys
from pathlib import Path

from sweep_files import done, failed, running, write_sweep
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from tuning.report.hparams import write_hparams
from tuning.report.results import read_sweep

STATES = {"done": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE, "running": api_pb2.STATUS_RUNNING}


def shown(folder: Path) -> tuple[api_pb2.Experiment, dict[str, api_pb2.SessionGroup]]:
    """Reads a log folder by TensorBoard's own HParams backend: the experiment, and each trial by name."""
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    backend = backend_context.Context(TBContext(data_provider=data_provider.MultiplexerDataProvider(runs, str(folder))))
    asked = context.RequestContext()
    metadata = backend.hparams_metadata(asked, "")
    experiment = backend.experiment_from_metadata(
        asked, "", True, metadata, backend.hparams_from_data_provider(asked, "", 100)
    )
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=STATES.values())
    found = list_session_groups.Handler(asked, backend, "", request).run()
    return experiment, {group.name: group for group in found.session_groups}


def test_tensorboard_shows_every_trial_with_settings_numbers_and_state(tmp_path):
    slow = {"image_size": 90, "learning_rate": 1e-4, "arch": "vgg19"}
    fast = {"image_size": 64, "learning_rate": 1e-3, "arch": "baseline_cnn"}
    trials = [
        done("0000", 0.91, values=slow, seconds=12.5),
        done("0001", 0.93, values=fast),
        failed("0002", "out of memory", values=slow),
        running("0003", values=fast),
    ]
    folder = write_hparams(read_sweep(write_sweep(tmp_path / "sweep", *trials)))
    experiment, groups = shown(folder)
    assert {info.name for info in experiment.hparam_infos} == {"image_size", "learning_rate", "arch"}
    assert next(info.name.tag for info in experiment.metric_infos) == "val_auroc"
    assert sorted(groups) == ["0000", "0001", "0002", "0003"]
    first = groups["0000"]
    assert first.hparams["image_size"].number_value == 90
    assert first.hparams["learning_rate"].number_value == 1e-4
    assert first.hparams["arch"].string_value == "vgg19"
    numbers = {value.name.tag: value.value for value in first.metric_values}
    assert abs(numbers["val_auroc"] - 0.91) < 1e-6
    assert numbers["seconds"] == 12.5
    for trial in trials:
        assert [session.status for session in groups[trial.trial_id].sessions] == [STATES[trial.state]]


def test_writing_again_shows_every_trial_once_in_its_current_state(tmp_path):
    write_hparams(read_sweep(write_sweep(tmp_path, running("0000"), running("0001"))))
    (tmp_path / "trials" / "0001" / "trial.json").unlink()
    folder = write_hparams(read_sweep(write_sweep(tmp_path, done("0000", 0.9))))
    groups = shown(folder)[1]
    assert list(groups) == ["0000"]
    assert [session.status for session in groups["0000"].sessions] == [api_pb2.STATUS_SUCCESS]


def test_hparams_are_written_without_tensorflow_even_for_no_trials(tmp_path):
    write_sweep(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tuning.report.hparams import write_hparams\n"
        "from tuning.report.results import read_sweep\n"
        "write_hparams(read_sweep(Path(sys.argv[1])))\n"
        "assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "tensorboard" / "events.out.tfevents.sweep").stat().st_size > 0
