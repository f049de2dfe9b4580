"""The role of a process, by its flags or by KerasTuner's variables."""

import pytest

from beam_prep.console.errors import UsageError
from tuning.config import SearchConfig
from tuning.search.roles import Role, find_role


def config(**flags) -> SearchConfig:
    return SearchConfig(data=("D",), output="S", **flags)


def variables(name: str) -> dict[str, str]:
    return {"KERASTUNER_TUNER_ID": name, "KERASTUNER_ORACLE_IP": "10.0.0.5", "KERASTUNER_ORACLE_PORT": "8000"}


def test_flags_and_variables_give_the_same_roles():
    address = "10.0.0.5:8000"
    assert find_role(config(), {}) == Role("alone", "worker-0")
    assert find_role(config(role="alone"), variables("worker-3")) == Role("alone", "worker-0")
    chiefs = find_role(config(role="chief", oracle=address), {}), find_role(config(), variables("chief-0"))
    assert chiefs == (Role("chief", "chief", address),) * 2
    workers = (
        find_role(config(role="worker", worker_index=3, oracle=address), {}),
        find_role(config(), variables("sweep-worker-3")),
    )
    assert workers == (Role("worker", "worker-3", address),) * 2
    assert workers[0].variables() == variables("worker-3")


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ({"oracle": "h:1"}, {}, "needs --role chief or --role worker"),
        ({}, {"KERASTUNER_ORACLE_IP": "h"}, "KERASTUNER_TUNER_ID and KERASTUNER_ORACLE_PORT is not"),
        ({}, {**variables("tuner"), "KERASTUNER_TUNER_ID": "tuner"}, "expected chief or a worker with its number"),
    ],
)
def test_an_incomplete_role_is_refused(flags, environ, said):
    with pytest.raises(UsageError, match=said):
        find_role(config(**flags), environ)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"role": "worker"}, "--role worker needs --oracle HOST:PORT"),
        ({"role": "chief", "oracle": "h"}, "expected HOST:PORT"),
        ({"role": "chief", "oracle": "h:99999"}, "expected HOST:PORT"),
        ({"lease_s": 0.0}, "--lease_s is 0.0; expected at least 1"),
        ({"hyperband_factor": 1}, "--hyperband_factor is 1"),
        ({"retrain_best": True, "retrain_seeds": 2}, "choose one"),
    ],
)
def test_wrong_flags_of_a_search_are_refused(flags, said):
    with pytest.raises(UsageError, match=said):
        config(**flags)
