"""The commands that work in a cluster. `cli.py` takes them in; like it, this module prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from beam_prep.command_line import Command
from beam_prep.errors import UsageError
from k8s.client import connect
from k8s.config import DeleteConfig, LogsConfig, StatusConfig, SubmitConfig, WaitConfig
from k8s.kinds import Object, instance, title
from k8s.preflight import Problem, preflight


def submit(config: SubmitConfig, objects: Sequence[Object], namespace: str | None, yaml: str) -> None:
    """Sends rendered objects and says what was made.

    Args:
        config: how.
        objects: as rendered.
        namespace: of the spec; that of the context if not given.
        yaml: the objects as text, for `--dry_run`.

    Raises:
        UsageError: the preflight found errors; all of them were printed.
    """
    from k8s.submit import submit as run

    name = instance(objects)
    if config.dry_run:
        _tell_problems(preflight(objects, None) if config.preflight else [])
        print(yaml, end="")
        return
    cluster = connect(config.context, namespace)
    if config.preflight:
        _tell_problems(preflight(objects, cluster))
    run(cluster, objects, replace=config.replace, tell=print)
    at = "" if namespace is None and config.context is None else f" --namespace {cluster.namespace}"
    at += f" --context {config.context}" if config.context else ""
    print(f"status:    python -m k8s status --name {name}{at}")
    print(f"logs:      python -m k8s logs --name {name} --follow{at}")


def _tell_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(f"{problem.severity}: {problem.text}", file=sys.stderr)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UsageError(f"nothing was sent: {len(errors)} of the problems above are errors (--no_preflight sends it anyway)")


def status(config: StatusConfig) -> None:
    """Prints a line for each job and pod, and below it why it waits or failed."""
    from k8s.status import read_status

    found = read_status(connect(config.context, config.namespace), config.name)
    print(f"{found.name} in namespace {found.namespace}: {found.state}")
    width = max((len(f"{line.kind} {line.name}") for line in found.lines), default=0) + 2
    for line in found.lines:
        print(f"{f'{line.kind} {line.name}':{width}}{line.state:13}{line.detail}")
        if line.why:
            print(f"    {line.why}")


def logs(config: LogsConfig) -> None:
    """Prints log lines; with several pods, each line with its pod in front."""
    from k8s.logs import read_logs

    cluster = connect(config.context, config.namespace)
    for line in read_logs(cluster, config.name, follow=config.follow, tail=config.tail):
        print(f"[{line.pod}] {line.text}" if line.num_pods > 1 else line.text, flush=config.follow)


def wait(config: WaitConfig) -> int:
    """Prints each change of state; 1 if the submission failed."""
    from k8s.waiting import wait_until_done

    cluster = connect(config.context, config.namespace)
    state = wait_until_done(cluster, config.name, config.timeout_s, lambda line: print(line, flush=True))
    if state == "failed":
        print(f"error: {config.name} failed; see: python -m k8s status --name {config.name}", file=sys.stderr)
    return int(state == "failed")


def delete(config: DeleteConfig) -> None:
    """Deletes and says what."""
    from k8s.status import find_objects
    from k8s.submit import delete as run

    cluster = connect(config.context, config.namespace)
    objects = find_objects(cluster, config.name)
    run(cluster, objects, config.name, foreground=config.propagation == "foreground", timeout_s=config.timeout_s)
    print(f"deleted {', '.join(map(title, objects))}" + ("" if config.timeout_s else "; their pods may still be ending"))


COMMANDS = {
    "status": Command(StatusConfig, status),
    "logs": Command(LogsConfig, logs),
    "wait": Command(WaitConfig, wait),
    "delete": Command(DeleteConfig, delete),
}
