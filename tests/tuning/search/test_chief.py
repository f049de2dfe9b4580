"""A chief ends when it can't get work done any more, and says why."""

import pytest
from ports import free_port
from searches import make_job

from beam_prep.console.errors import RunError, UsageError
from tuning.config import SearchConfig
from tuning.search.algorithms import make_oracle
from tuning.search.bucket_sync import Sharing
from tuning.search.chief import run_chief
from tuning.search.roles import Role
from tuning.search.search import search


@pytest.fixture
def job(tmp_path):
    job = make_job(output=str(tmp_path / "sweep"), learning_rate=("1e-4:1e-2",), lease_s=1, worker_timeout_s=2)
    job.folder.start(job.to_json(), overwrite=False)
    return job


def hand_out(job):
    run_chief(job, make_oracle(job), f"127.0.0.1:{free_port()}", Sharing(str(job.folder.path)), print)


def test_a_chief_whose_workers_can_not_work_says_why(job):
    job.folder.note_refusal("worker-1", "--batch_size is 7, which 2 replicas do not divide")
    with pytest.raises(UsageError, match="1 ended with a wrong command or config; worker-1: --batch_size is 7"):
        hand_out(job)


def test_a_worker_that_works_again_is_waited_for(job):
    job.folder.note_refusal("worker-1", "wrong")
    job.folder.forget_refusal("worker-1")
    with pytest.raises(RunError, match="no worker sent a heartbeat for 2 s"):
        hand_out(job)


def test_a_worker_notes_why_it_can_not_work_and_a_new_chief_forgets_it(job):
    config = SearchConfig(data=("nowhere",), output=str(job.folder.path))
    worker, sharing = Role("worker", "worker-3", "h:1"), Sharing(config.output)
    with pytest.raises(UsageError, match="nowhere"):
        search(config, worker, [], sharing, on_plan=print, on_trial_end=print, on_note=print)
    assert "nowhere" in job.folder.refusals["worker-3"]
    job.folder.start(job.to_json(), overwrite=False)
    assert job.folder.refusals == {}
