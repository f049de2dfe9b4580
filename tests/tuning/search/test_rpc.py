"""The calls between chief and workers over gRPC: a KerasTuner whose private modules have changed fails here at once."""

from pathlib import Path

import pytest
from keras_tuner.engine.trial import TrialStatus
from ports import free_port
from searches import make_job

import tuning
from beam_prep.console.errors import RunError, UsageError
from tuning.search import rpc
from tuning.search.algorithms import make_oracle
from tuning.search.roles import Role

TOKEN = "a token of the sweep that nobody guesses".replace(" ", "-")


@pytest.fixture
def worker() -> Role:
    return Role("worker", "worker-0", f"127.0.0.1:{free_port()}")


def test_a_worker_takes_and_reports_a_trial_over_grpc(tmp_path, worker):
    job = make_job(output=str(tmp_path))
    oracle = make_oracle(job)
    server = rpc.start_server(oracle, worker.address, job.config, TOKEN)
    try:
        client = rpc.connect(worker, job.config, lambda: TOKEN)
        trial = client.create_trial(worker.name)
        assert (trial.trial_id, trial.status) == ("0000", TrialStatus.RUNNING)
        assert client.renew_lease(worker.name) == "0000", "the trial is still its own"
        assert client.renew_lease("worker-1") == "0001"
        assert trial.hyperparameters.values == oracle.trials["0000"].hyperparameters.values
        client.update_trial("0000", {"val_auroc": 0.5})
        trial.status = TrialStatus.COMPLETED
        client.end_trial(trial)
        assert (oracle.end_order, oracle.trials["0000"].score) == (["0000"], 0.5)
        with pytest.raises(UsageError, match="can't listen there; name a free port"):
            rpc.start_server(oracle, worker.address, job.config, TOKEN)
    finally:
        server.stop(None)


def test_a_call_to_a_chief_that_is_gone_ends_in_time(monkeypatch, worker):
    monkeypatch.setattr(rpc, "RPC_TIMEOUT_S", 0.1)
    client = rpc.connect(worker, make_job().config, lambda: TOKEN)
    assert client.renew_lease(worker.name) is None
    with pytest.raises(RunError, match="the chief did not answer for 0 s"):
        rpc.call(client.create_trial, worker.name, timeout_s=0, has_ended=lambda: False)
    with pytest.raises(rpc.SearchEndedError):
        rpc.call(client.create_trial, worker.name, timeout_s=0, has_ended=lambda: True)


def test_one_module_alone_imports_the_private_modules_of_keras_tuner():
    modules = Path(tuning.__file__).parent.rglob("*.py")
    assert [path.name for path in modules if "from keras_tuner.src" in path.read_text()] == ["rpc.py"]
