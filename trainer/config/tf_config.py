"""Reads the workers that train together from the environment variable TF_CONFIG. Standard library only."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from beam_prep.console.errors import UsageError

EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """Several workers that train together.

    Attributes:
        workers: host:port of each worker; the first is the chief, which alone writes and prints.
        index: index of this process among the workers.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def name(self) -> str:
        """The name of this worker, for messages."""
        return f"worker {self.index} of {len(self.workers)}"


def find_cluster(strategy: str) -> Cluster | None:
    """Returns the workers that TF_CONFIG names; None if this process trains alone.

    Args:
        strategy: value of `--strategy`. `multiworker` requires TF_CONFIG, `auto` uses it if it names several workers,
            all others ignore it.

    Raises:
        UsageError: TF_CONFIG is missing or wrong.
    """
    text = os.environ.get("TF_CONFIG", "")
    if strategy not in ("auto", "multiworker") or (strategy == "auto" and not text):
        return None
    if not text:
        raise UsageError(f"--strategy multiworker needs the variable TF_CONFIG, which is not set; such as: {EXAMPLE}")
    try:
        cluster = _parse(json.loads(text))
    except ValueError as error:
        raise UsageError(f"TF_CONFIG: {error}; expected such as: {EXAMPLE}") from None
    return cluster if strategy == "multiworker" or len(cluster.workers) > 1 else None


def _parse(content: object) -> Cluster:
    """Parses the content of TF_CONFIG; raises a `ValueError` that says what is wrong with it."""
    if not isinstance(content, dict) or not isinstance(content.get("cluster"), dict):
        raise ValueError('found no "cluster"')
    jobs = content["cluster"]
    if unknown := set(jobs) - {"chief", "worker"}:
        raise ValueError(f"its cluster has tasks of type {', '.join(sorted(unknown))}; only chief and worker train")
    workers = [*jobs.get("chief", []), *jobs.get("worker", [])]
    for address in workers:
        if not isinstance(address, str) or not re.fullmatch(r".+:\d+", address):
            raise ValueError(f"{address!r} is no host:port")
    if len(set(workers)) != len(workers):
        raise ValueError("a host:port stands in it twice")
    task = content.get("task")
    if not isinstance(task, dict) or task.get("type") not in jobs:
        raise ValueError(f'its "task" has to be of a type of the cluster ({", ".join(jobs) or "empty"})')
    kind, index = task["type"], task.get("index")
    if not isinstance(index, int) or not 0 <= index < len(jobs[kind]):
        raise ValueError(f"its task index is {index!r}; the cluster has {len(jobs[kind])} of type {kind}")
    return Cluster(tuple(workers), index + (len(jobs.get("chief", [])) if kind == "worker" else 0))
