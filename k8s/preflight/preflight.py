"""A look at a submission before it is sent: all that is found at once, not one thing after each other."""

from __future__ import annotations

from collections.abc import Sequence

from k8s.cluster.client import Cluster
from k8s.preflight.cluster_checks import check_cluster
from k8s.preflight.offline_checks import check_offline
from k8s.preflight.problem import Problem
from k8s.preflight.workload import workloads
from k8s.render.objects import Object


def find_problems(objects: Sequence[Object], cluster: Cluster | None) -> list[Problem]:
    """What will or may go wrong with a submission, errors first.

    Args:
        objects: as rendered: what is sent is what is looked at.
        cluster: where they are to go; None leaves out what needs it.

    Raises:
        CxrflowError: the cluster can't be reached, or refuses the credentials.
    """
    found = workloads(objects)
    problems = [problem for workload in found for problem in check_offline(workload)]
    if cluster is not None:
        problems += check_cluster(objects, found, cluster)
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity != "error")
