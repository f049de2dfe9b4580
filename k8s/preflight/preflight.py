"""Checks a submission before it is sent, and reports all problems at once."""

from __future__ import annotations

from collections.abc import Sequence

from k8s.cluster.client import Cluster
from k8s.preflight.cluster_checks import check_cluster
from k8s.preflight.offline_checks import check_offline
from k8s.preflight.problem import Problem
from k8s.preflight.workload import workloads_of
from k8s.render.objects import Object


def find_problems(objects: Sequence[Object], cluster: Cluster | None, *, replace: bool = False) -> list[Problem]:
    """Returns the problems that a submission has or may have, errors first.

    Args:
        objects: the rendered objects, as they will be sent.
        cluster: the namespace that they are for; None leaves out the checks that need a cluster.
        replace: True if an older submission of their name is deleted before they are sent.

    Raises:
        CxrflowError: the cluster can't be reached, or refuses the credentials.
    """
    workloads = workloads_of(objects)
    problems = [problem for workload in workloads for problem in check_offline(workload)]
    if cluster is not None:
        problems += check_cluster(objects, workloads, cluster, replace=replace)
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity != "error")
