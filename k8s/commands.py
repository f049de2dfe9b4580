"""Defines the commands that work in a cluster; like `cli.py`, this module prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import make_dataclass, replace
from typing import Any

from beam_prep.console.command import Command
from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.kinds import title
from k8s.cluster.kubeconfig import connect
from k8s.cluster.logs import count_lost_attempts, read_logs
from k8s.cluster.status import find_objects, read_status, unseen_kinds
from k8s.cluster.submit import delete, submit
from k8s.cluster.waiting import wait_until_done
from k8s.config import DeleteConfig, LogsConfig, StatusConfig, SubmitConfig, WaitConfig
from k8s.live.progress import output_of, read_progress
from k8s.live.view import Lines, Screen, follow, heading, table
from k8s.preflight.preflight import find_problems
from k8s.preflight.problem import Problem
from k8s.preflight.workload import kept_logs_of
from k8s.render.render import render, to_yaml


def submit_command(rendering: Command) -> Command:
    """Returns the command that submits what a `render` command prints, with the flags of both."""
    parts = [("sending", SubmitConfig), ("spec", rendering.config)]
    config = make_dataclass(f"Submit{rendering.config.__name__}", parts, frozen=True, kw_only=True)
    config.__doc__ = rendering.config.__doc__
    return replace(rendering, config=config, run=render_and_submit)


def render_and_submit(config: Any, more: Sequence[str] = ()) -> None:
    """Renders a submission, sends it to the cluster and prints what was created.

    Args:
        config: a dataclass with `sending`, a `SubmitConfig`, and `spec`, the spec to render; see `submit_command`.
        more: flags of the program in the pods that its config does not have, see `render`.

    Raises:
        UsageError: the preflight found errors; all of them were printed.
    """
    sending, spec = config.sending, config.spec
    objects = render(spec, more)
    if sending.dry_run:
        print(to_yaml(objects), end="")
        _print_problems(find_problems(objects, None) if sending.preflight else [])
        return
    cluster = connect(sending.context, spec.namespace)
    if sending.preflight:
        _print_problems(find_problems(objects, cluster, replace=sending.replace))
    submit(cluster, objects, replace=sending.replace, report=print)
    for text in cluster.warnings:
        print(f"warning: the cluster says: {text}", file=sys.stderr)
    print(f"status:    cxrflow k8s status {cluster.flags(spec.name)}")
    print(f"logs:      cxrflow k8s logs --follow {cluster.flags(spec.name)}")
    if kept := kept_logs_of(objects):
        print(f"kept logs: {kept}, also those of pods that are deleted")


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(f"{problem.severity}: {problem.text}", file=sys.stderr)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UsageError(f"nothing was sent because of errors, {len(errors)} in all; --no_preflight sends it anyway")


def print_status(config: StatusConfig) -> None:
    """Prints a line for every job, pod, run and trial, and below it why it waits or failed."""
    cluster = connect(config.context, config.namespace)
    if config.watch:
        view = Screen(sys.stdout) if sys.stdout.isatty() else Lines(sys.stdout)
        follow(cluster, config.name, config.output, view.show)
        return
    status = read_status(cluster, config.name)
    _print_notes(status.notes)
    print("\n".join([heading(status), *table(status.lines)]), flush=True)
    for line in table(read_progress(output_of(status.objects, config.output))):
        print(line)


def print_logs(config: LogsConfig) -> None:
    """Prints the log lines of a submission; if it has several pods, every line with its pod in front."""
    cluster = connect(config.context, config.namespace)
    kept = kept_logs_of(find_objects(cluster, config.name))
    try:
        for line in read_logs(cluster, config.name, follow=config.follow, tail=config.tail):
            print(f"[{line.pod}] {line.text}" if line.num_pods > 1 else line.text, flush=config.follow)
    except RunError as error:
        raise type(error)(f"{error}; what the pods printed is also kept in {kept}") if kept else error from None
    if num_lost := count_lost_attempts(cluster.objects(config.name)):
        print(
            f"note: the logs of earlier attempts, {num_lost} in all, were deleted with their pods when all nodes "
            f"started anew; {f'they are kept in {kept}' if kept else 'a log service of the cluster may have them'}",
            file=sys.stderr,
        )


def wait_and_print(config: WaitConfig) -> int:
    """Prints every change of state until the end of a submission; returns 1 if it failed, otherwise 0."""
    cluster = connect(config.context, config.namespace)
    state = wait_until_done(cluster, config.name, config.timeout_s, lambda line: print(line, flush=True))
    if state == "failed":
        print(f"error: {config.name} failed; see: cxrflow k8s status {cluster.flags(config.name)}", file=sys.stderr)
    return int(state == "failed")


def delete_and_print(config: DeleteConfig) -> None:
    """Deletes a submission and prints which objects were deleted."""
    cluster = connect(config.context, config.namespace)
    objects = find_objects(cluster, config.name)
    _print_notes(unseen_kinds(cluster, objects))
    delete(cluster, objects, config.name, foreground=config.propagation == "foreground", timeout_s=config.timeout_s)
    pods = "" if config.timeout_s else "; their pods may still be ending"
    print(f"deleted {', '.join(map(title, objects))}{pods}")


COMMANDS = {
    "status": Command(StatusConfig, print_status, examples=("status --name chest", "status --name chest --watch")),
    "logs": Command(LogsConfig, print_logs, examples=("logs --follow --name chest",)),
    "wait": Command(WaitConfig, wait_and_print, examples=("wait --name chest --timeout_s 3600",)),
    "delete": Command(DeleteConfig, delete_and_print, examples=("delete --name chest",)),
}
