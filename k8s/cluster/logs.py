"""The logs of a submission: of all its pods, also of those that are yet to come, each line once."""

from __future__ import annotations

import contextlib
import datetime
import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from beam_prep.console.errors import CxrflowError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotStarted, NotThere, Unreachable
from k8s.cluster.status import find_objects, overall_state, pod_state
from k8s.cluster.waiting import PATIENCE_S, RETRY_S
from k8s.render.objects import Object

FINAL_TRIES = 5  # of the log of a pod that has ended, whose node may be gone
CLOCK_SKEW_S = 60  # between this machine and the cluster
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True)
class LogLine:
    """One line of a log.

    Attributes:
        pod: whose.
        text: without its time.
        num_pods: how many pods have been seen so far; with several, a line wants its pod in front.
    """

    pod: str
    text: str
    num_pods: int


def read_logs(cluster: Cluster, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[LogLine]:
    """The lines of all pods of a submission: pod by pod, or with `follow` as they come, until its work has ended.

    Args:
        cluster: where it is.
        name: of it.
        follow: stay, through restarts of containers and pods and through connections that break.
        tail: of each pod so many lines from the end; None: all.

    Raises:
        UsageError: there is no submission of that name.
        CxrflowError: see `k8s.cluster.errors`.
    """
    find_objects(cluster, name)
    if follow:
        yield from _Following(cluster, name, tail).lines()
        return
    pods = [pod for pod in cluster.pods(name) if _has_started(pod)]
    for pod in pods:
        with contextlib.suppress(NotThere, NotStarted):  # since the list was made
            for text in _PodLog(cluster, pod, tail).read(follow=False):
                yield LogLine(pod["metadata"]["name"], text, len(pods))


class _PodLog:
    """The log of one pod, which can be read again from where it was left.

    Attributes:
        is_final: whether no line will be added any more.
    """

    def __init__(self, cluster: Cluster, pod: Object, tail: int | None) -> None:
        self.name = pod["metadata"]["name"]
        self.is_final = False
        annotations = pod["metadata"].get("annotations") or {}
        self._container = annotations.get(DEFAULT_CONTAINER) or pod["spec"]["containers"][0]["name"]
        self._cluster = cluster
        self._tail = tail
        self._last = ("", "")  # time of the last line that was read

    def read(self, *, follow: bool) -> Iterator[str]:
        """The lines that were not read yet."""
        since_s = _seconds_since(self._last[0]) + CLOCK_SKEW_S if self._last[0] else None
        tail = None if since_s else self._tail
        for line in self._cluster.log(self.name, self._container, follow=follow, since_s=since_s, tail=tail):
            stamp, _, text = line.partition(" ")
            when = _sortable(stamp)
            if when > self._last:
                self._last = when
                yield text


class _Following:
    """A thread for each pod, whose lines meet in a queue; pods are listed again and again."""

    def __init__(self, cluster: Cluster, name: str, tail: int | None) -> None:
        self._cluster = cluster
        self._name = name
        self._tail = tail
        self._logs: dict[str, _PodLog] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._queue: queue.Queue[tuple[str, str] | CxrflowError] = queue.Queue()

    def lines(self) -> Iterator[LogLine]:
        """Until the work has ended and all logs are read."""
        reached = time.monotonic()
        while True:
            try:
                is_over = self._look_for_pods()
                reached = time.monotonic()
            except Unreachable:
                is_over = False
                if time.monotonic() - reached > PATIENCE_S:
                    raise
            yield from self._drain(0 if is_over else RETRY_S)
            if is_over and self._queue.empty():
                return

    def _look_for_pods(self) -> bool:
        """Starts to read pods that have started; whether all work has ended and all logs are read."""
        work_ended = overall_state(self._cluster.objects(self._name)) in (None, "complete", "failed")
        pods = {pod["metadata"]["name"]: pod for pod in self._cluster.pods(self._name)}
        for name, pod in pods.items():
            if name not in self._logs and _has_started(pod):
                self._logs[name] = _PodLog(self._cluster, pod, self._tail)
                self._threads[name] = threading.Thread(target=self._read, args=(self._logs[name],), daemon=True)
                self._threads[name].start()
        endless = {name for name, pod in pods.items() if pod["spec"].get("restartPolicy", "Always") == "Always"}
        ended = {name for name, pod in pods.items() if pod_state(pod) in ("succeeded", "failed")}
        for name, log in self._logs.items():
            log.is_final = name not in pods or name in ended
        starting = pods.keys() - self._logs.keys() - endless - ended
        reading = [name for name, thread in self._threads.items() if thread.is_alive() and name not in endless]
        return work_ended and not reading and not starting

    def _read(self, log: _PodLog) -> None:
        """Reads one pod to its end; runs in a thread of its own."""
        tries = 0
        while True:
            was_final = log.is_final
            try:
                for text in log.read(follow=True):
                    self._queue.put((log.name, text))
            except NotThere:
                return
            except (NotStarted, Unreachable):  # whether it is for long, the list of pods tells
                tries += log.is_final
                was_final = tries > FINAL_TRIES
            except CxrflowError as error:
                self._queue.put(error)
                return
            if was_final:
                return
            time.sleep(RETRY_S)

    def _drain(self, wait_s: float) -> Iterator[LogLine]:
        """The lines that come within a time.

        Raises:
            CxrflowError: a log can't be read at all.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                found = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(found, CxrflowError):
                raise found
            yield LogLine(*found, num_pods=len(self._logs))


def _has_started(pod: Object) -> bool:
    """Whether a container of a pod runs or ran."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return any(
        {"running", "terminated"} & {*(each.get("state") or {}), *(each.get("lastState") or {})} for each in containers
    )


def _sortable(stamp: str) -> tuple[str, str]:
    """A time in RFC 3339 to what sorts by time: some servers leave zeros at the end of the fraction out."""
    parts = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?", stamp)
    return (parts[1], (parts[2] or "").ljust(9, "0")) if parts else ("", "")


def _seconds_since(stamp: str) -> int:
    then = datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.UTC)
    return max(0, round((datetime.datetime.now(datetime.UTC) - then).total_seconds()))
