"""Determines the role of this process in a search: alone, chief or worker. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from beam_prep.console.errors import UsageError
from tuning.config import SearchConfig, parse_address

TUNER_ID, HOST, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


@dataclass(frozen=True)
class Role:
    """The role of a process.

    Attributes:
        kind: `chief` hands out trials, `worker` runs them, `alone` does both.
        name: `chief`, or a name such as `worker-0`, by which a worker gets its trial back after a restart.
        address: HOST:PORT of the chief; None if the process searches alone.
    """

    kind: Literal["alone", "chief", "worker"]
    name: str
    address: str | None = None

    def variables(self) -> dict[str, str]:
        """Returns the environment variables by which KerasTuner knows the role."""
        if self.address is None:
            return {TUNER_ID: self.name}
        host, port = parse_address(self.address)
        return {TUNER_ID: self.name, HOST: host, PORT: str(port)}


def find_role(config: SearchConfig, environ: Mapping[str, str] = os.environ) -> Role:
    """Determines the role by the flags, else by KerasTuner's environment variables.

    Raises:
        UsageError: the variables are incomplete, or name neither the chief nor a numbered worker.
    """
    if config.role == "alone" or (config.role == "auto" and HOST not in environ and config.oracle is None):
        return Role("alone", f"worker-{config.worker_index}")
    if config.role == "chief":
        return Role("chief", "chief", config.oracle)
    if config.role == "worker":
        return Role("worker", f"worker-{config.worker_index}", config.oracle)
    if config.oracle is not None:
        raise UsageError(f"--oracle {config.oracle} needs --role chief or --role worker")
    missing = [name for name in (TUNER_ID, PORT) if not environ.get(name)]
    if missing:
        raise UsageError(f"{HOST} is set, {' and '.join(missing)} is not; set all three, or none and --role")
    address, name = f"{environ[HOST]}:{environ[PORT]}", environ[TUNER_ID]
    parse_address(address)
    if "chief" in name:
        return Role("chief", "chief", address)
    number = re.search(r"(\d+)$", name)
    if number is None:
        raise UsageError(f"{TUNER_ID} is {name}; expected chief or a worker with its number, such as worker-0")
    return Role("worker", f"worker-{int(number[1])}", address)
