"""Checks that nodes of a cluster have the GPUs that the pods of a submission ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotAllowed
from k8s.cluster.kinds import labels_of
from k8s.gpu_types import OPERATOR_GPU, fits, gpu_type_of, gpu_types_in
from k8s.preflight.problem import Problem, warning
from k8s.preflight.workload import Workload
from k8s.render.objects import Object
from k8s.render.pods import GPU

GKE_LABELS = "cloud.google.com/gke-"
"""The beginning of the labels that all nodes of GKE have."""


def check_nodes(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """Yields a warning for pods that ask for more GPUs than a node has, or that leave some of a node unused.

    None is an error, because an autoscaler may add nodes to an empty node pool.
    """
    with_gpus = [workload for workload in workloads if workload.num_gpus]
    if not with_gpus:
        return
    try:
        nodes = cluster.nodes()
    except NotAllowed:
        yield warning("you may not list nodes: whether a node has the GPUs that the pods need was not checked")
        return
    for workload in with_gpus:
        sizes = [_num_gpus(node) for node in nodes if fits(workload.pod, labels_of(node))]
        enough = [size for size in sizes if size >= workload.num_gpus]
        gpu_type = gpu_type_of(workload.pod) or "GPU"
        if not enough:
            largest = max(sizes, default=0)
            types = sorted({name for node in nodes for name in gpu_types_in(labels_of(node))})
            has = f"the largest has {largest}" if largest else f"its GPUs are: {', '.join(types) or 'none'}"
            yield warning(
                f"{workload.title}: no node of the cluster has {workload.num_gpus} x {gpu_type} now ({has}); "
                f"{_what_follows(nodes)}"
            )
        elif (unused := min(enough) - workload.num_gpus * workload.num_pods) > 0:
            yield warning(
                f"{workload.title}: --num_gpus {workload.num_gpus}, and every node with {gpu_type} has "
                f"{min(enough)} or more: {unused} would idle if no other pod takes them"
            )


def _what_follows(nodes: Sequence[Object]) -> str:
    """Returns what becomes of pods that no node fits, and how to see the nodes that there could be."""
    if nodes and not any(label.startswith(GKE_LABELS) for node in nodes for label in labels_of(node)):
        return f"its pods wait until one has; see: kubectl get nodes --label-columns {OPERATOR_GPU}"
    return (
        "its pods wait until the autoscaler adds one, forever if no node pool has them: "
        "gcloud container node-pools list --cluster CLUSTER"
    )


def _num_gpus(node: Object) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(GPU, 0))
