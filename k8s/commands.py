"""The commands that work in a cluster. `cli.py` takes them in; like it, this module prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import make_dataclass, replace
from typing import Any

from beam_prep.console.command_line import Command
from beam_prep.console.errors import UsageError
from k8s.cluster.client import connect
from k8s.cluster.kinds import title
from k8s.config import DeleteConfig, LogsConfig, StatusConfig, SubmitConfig, WaitConfig
from k8s.preflight.problem import Problem


def submit(config: Any, more: Sequence[str] = ()) -> None:
    """Renders and sends, and says what was made.

    Args:
        config: `sending`, a `SubmitConfig`, and `spec`, what to render; see `submitting`.
        more: flags of what runs in the pods that are not of its config, see `render`.

    Raises:
        UsageError: the preflight found errors; all of them were printed.
    """
    from k8s.cluster.submit import submit as run
    from k8s.preflight.preflight import preflight
    from k8s.render.render import render, to_yaml

    sending, spec = config.sending, config.spec
    objects = render(spec, more)
    if sending.dry_run:
        print(to_yaml(objects), end="")
        _tell_problems(preflight(objects, None) if sending.preflight else [])
        return
    cluster = connect(sending.context, spec.namespace)
    if sending.preflight:
        _tell_problems(preflight(objects, cluster))
    run(cluster, objects, replace=sending.replace, tell=print)
    place = {"context": sending.context, "namespace": spec.namespace}
    where = "".join(f" --{flag} {value}" for flag, value in place.items() if value)
    print(f"status:    python -m k8s status --name {spec.name}{where}")
    print(f"logs:      python -m k8s logs --follow --name {spec.name}{where}")


def submitting(rendering: Command) -> Command:
    """The command that sends what another one renders: the same flags, and those of `SubmitConfig`."""
    parts = [("sending", SubmitConfig), ("spec", rendering.config)]
    config = make_dataclass(f"Submit{rendering.config.__name__}", parts, frozen=True, kw_only=True)
    config.__doc__ = rendering.config.__doc__
    return replace(rendering, config=config, run=submit)


def _tell_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(f"{problem.severity}: {problem.text}", file=sys.stderr)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UsageError(f"nothing was sent, for the {len(errors)} above; --no_preflight sends it anyway")


def status(config: StatusConfig) -> None:
    """Prints a line for each job and pod, and below it why it waits or failed."""
    from k8s.cluster.status import read_status

    found = read_status(connect(config.context, config.namespace), config.name)
    print(f"{found.name} in namespace {found.namespace}: {found.state}")
    width = max((len(f"{line.kind} {line.name}") for line in found.lines), default=0) + 2
    for line in found.lines:
        print(f"{f'{line.kind} {line.name}':{width}}{line.state:13}{line.detail}")
        if line.why:
            print(f"    {line.why}")


def logs(config: LogsConfig) -> None:
    """Prints log lines; with several pods, each line with its pod in front."""
    from k8s.cluster.logs import read_logs

    cluster = connect(config.context, config.namespace)
    for line in read_logs(cluster, config.name, follow=config.follow, tail=config.tail):
        print(f"[{line.pod}] {line.text}" if line.num_pods > 1 else line.text, flush=config.follow)


def wait(config: WaitConfig) -> int:
    """Prints each change of state; 1 if the submission failed."""
    from k8s.cluster.waiting import wait_until_done

    cluster = connect(config.context, config.namespace)
    state = wait_until_done(cluster, config.name, config.timeout_s, lambda line: print(line, flush=True))
    if state == "failed":
        print(f"error: {config.name} failed; see: python -m k8s status --name {config.name}", file=sys.stderr)
    return int(state == "failed")


def delete(config: DeleteConfig) -> None:
    """Deletes and says what."""
    from k8s.cluster.status import find_objects
    from k8s.cluster.submit import delete as run

    cluster = connect(config.context, config.namespace)
    objects = find_objects(cluster, config.name)
    run(cluster, objects, config.name, foreground=config.propagation == "foreground", timeout_s=config.timeout_s)
    print(
        f"deleted {', '.join(map(title, objects))}" + ("" if config.timeout_s else "; their pods may still be ending")
    )


COMMANDS = {
    "status": Command(StatusConfig, status),
    "logs": Command(LogsConfig, logs),
    "wait": Command(WaitConfig, wait),
    "delete": Command(DeleteConfig, delete),
}
