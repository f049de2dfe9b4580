"""Reads the logs of all pods of a submission, also of pods that start later; every line comes once."""

from __future__ import annotations

import datetime
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_prep.console.errors import CxrflowError, RunError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotStarted, NotThere, Unreachable
from k8s.cluster.status import find_objects, overall_state, pod_state
from k8s.cluster.waiting import PATIENCE_S, RETRY_S
from k8s.render.objects import Object

FINAL_TRIES = 5
"""The number of attempts to read the log of a pod that has ended, whose node may be gone."""
CLOCK_SKEW_S = 60
"""The largest difference between the clocks of this machine and of the cluster, s."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation that names the container whose log is meant."""


@dataclass(frozen=True)
class LogLine:
    """A line of a log.

    Attributes:
        pod: the name of the pod that wrote the line.
        text: the line without its time.
        num_pods: the number of pods seen so far; with several, the name of the pod belongs in front of a line.
    """

    pod: str
    text: str
    num_pods: int


def read_logs(cluster: Cluster, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[LogLine]:
    """Yields the log lines of all pods of a submission, pod by pod or, with `follow`, as they are written.

    Args:
        cluster: the namespace of the submission.
        name: the name of the submission.
        follow: True waits for further lines until all work of the submission has ended, through restarts of
            containers and pods and through broken connections.
        tail: the number of lines at the end of each log; None reads all.

    Raises:
        UsageError: the namespace has no submission of that name.
        RunError: no pod has started, or a log can't be read; all others were read before.
        CxrflowError: the logs can't be read; see `k8s.cluster.errors`.
    """
    find_objects(cluster, name)
    if follow:
        yield from _Follower(cluster, name, tail).lines()
        return
    pods = [pod for pod in cluster.pods(name) if _has_started(pod)]
    if not pods:
        raise RunError(
            f"no pod of {name} has started, or they are deleted already; see: cxrflow k8s status {cluster.flags(name)}"
        )
    missed: list[str] = []
    for pod in pods:
        try:
            for text in _PodLog(cluster, pod, tail).read(follow=False):
                yield LogLine(pod["metadata"]["name"], text, len(pods))
        except (NotThere, NotStarted):  # it ended after the list was made
            continue
        except Unreachable as error:  # its node does not answer
            missed.append(str(error))
    if missed:
        raise RunError(f"of {len(pods)} pods {len(missed)} have a log that can't be read: {'; '.join(missed)}")


def count_lost_attempts(objects: Iterable[Object]) -> int:
    """Returns the number of earlier attempts whose pods JobSet deleted, and with them their logs, to start all anew."""
    return sum((obj.get("status") or {}).get("restarts") or 0 for obj in objects if obj["kind"] == "JobSet")


class _PodLog:
    """The log of one pod; a second read continues after the last line of the first.

    Attributes:
        name: the name of the pod.
        is_final: True if no line will be added.
    """

    def __init__(self, cluster: Cluster, pod: Object, tail: int | None) -> None:
        self.name = pod["metadata"]["name"]
        self.is_final = False
        annotations = pod["metadata"].get("annotations") or {}
        self._container = annotations.get(DEFAULT_CONTAINER) or pod["spec"]["containers"][0]["name"]
        self._cluster = cluster
        self._tail = tail
        self._last = ("", "")  # the time of the last line that was read

    def read(self, *, follow: bool) -> Iterator[str]:
        """Yields the lines that were not read before."""
        since_s = _seconds_since(self._last[0]) + CLOCK_SKEW_S if self._last[0] else None
        tail = None if since_s else self._tail
        for line in self._cluster.log(self.name, self._container, follow=follow, since_s=since_s, tail=tail):
            stamp, _, text = line.partition(" ")
            time_key = _time_key(stamp)
            if time_key > self._last:
                self._last = time_key
                yield text


class _Follower:
    """Follows the logs of all pods: one thread a pod writes its lines to a queue, and pods are listed repeatedly."""

    def __init__(self, cluster: Cluster, name: str, tail: int | None) -> None:
        self._cluster = cluster
        self._name = name
        self._tail = tail
        self._logs: dict[str, _PodLog] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._missed: dict[str, str] = {}
        self._queue: queue.Queue[tuple[str, str] | CxrflowError] = queue.Queue()

    def lines(self) -> Iterator[LogLine]:
        """Yields log lines until the work has ended and all logs are read."""
        last_answer = time.monotonic()
        while True:
            try:
                is_over = self._follow_new_pods()
                last_answer = time.monotonic()
            except Unreachable:
                is_over = False
                if time.monotonic() - last_answer > PATIENCE_S:
                    raise
            yield from self._queued_lines(0 if is_over else RETRY_S)
            if is_over and self._queue.empty():
                break
        if self._missed:
            raise RunError(f"the end of {len(self._missed)} logs can't be read: {'; '.join(self._missed.values())}")
        if not self._logs:
            raise RunError(f"no pod of {self._name} has started before its end, or its pods are deleted already")

    def _follow_new_pods(self) -> bool:
        """Starts a thread for each pod that has started; returns True if all work has ended and all logs are read."""
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
        """Reads the log of one pod to its end; runs in a thread of its own."""
        tries = 0
        while True:
            was_final = log.is_final
            try:
                for text in log.read(follow=True):
                    self._queue.put((log.name, text))
            except NotThere:
                return
            except (NotStarted, Unreachable) as error:  # try again, until the list of pods says that the pod has ended
                tries += log.is_final
                was_final = tries > FINAL_TRIES
                if was_final and isinstance(error, Unreachable):
                    self._missed[log.name] = str(error)
            except CxrflowError as error:
                self._queue.put(error)
                return
            if was_final:
                return
            time.sleep(RETRY_S)

    def _queued_lines(self, wait_s: float) -> Iterator[LogLine]:
        """Yields the lines that come to the queue within a time.

        Raises:
            CxrflowError: the log of a pod can't be read.
        """
        deadline = time.monotonic() + wait_s
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(item, CxrflowError):
                raise item
            yield LogLine(*item, num_pods=len(self._logs))


def _has_started(pod: Object) -> bool:
    """Returns True if a container of a pod is running or has run."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    states = {state for container in containers for key in ("state", "lastState") for state in container.get(key) or ()}
    return not states.isdisjoint(("running", "terminated"))


def _time_key(stamp: str) -> tuple[str, str]:
    """Returns a key that orders times in RFC 3339, whose fractions some servers write without zeros at the end."""
    parts = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?", stamp)
    return (parts[1], (parts[2] or "").ljust(9, "0")) if parts else ("", "")


def _seconds_since(stamp: str) -> int:
    then = datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.UTC)
    return max(0, round((datetime.datetime.now(datetime.UTC) - then).total_seconds()))
