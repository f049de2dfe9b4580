"""What a look into the cluster tells of a submission before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8s.cluster.client import Cluster
from k8s.cluster.errors import JOBSET_INSTALL, NotAllowed
from k8s.cluster.kinds import CLAIM, KINDS, POD, SERVICE_ACCOUNT, Kind, kind_of
from k8s.preflight.problem import Problem, error, warning
from k8s.preflight.workload import Workload
from k8s.render.objects import QUEUE_LABEL, Object
from k8s.render.pods import GKE_GPU, GPU

KUEUE = "kueue.x-k8s.io"
KUEUE_INSTALL = "https://kueue.sigs.k8s.io/docs/installation"


def check_cluster(objects: Sequence[Object], found: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """The problems of a submission in a cluster.

    Args:
        objects: as rendered.
        found: their workloads.
        cluster: where they are to go.

    Raises:
        CxrflowError: the cluster can't be reached, or refuses the credentials.
    """
    there = True
    try:
        there = cluster.has_namespace()
    except NotAllowed as denied:
        if "(401)" in str(denied):
            raise
    if not there:
        yield error(
            f"there is no namespace {cluster.namespace}; make it: kubectl create namespace {cluster.namespace}, "
            "or name another one by --namespace"
        )
    groups = cluster.api_groups()
    yield from _check_permissions(objects, cluster)
    yield from _check_jobset(objects, groups)
    yield from _check_nodes(found, cluster)
    if there:
        yield from _check_queue(objects, groups, cluster)
        yield from _check_named(found, cluster)


def _check_permissions(objects: Sequence[Object], cluster: Cluster) -> Iterator[Problem]:
    for kind in dict.fromkeys(kind_of(obj) for obj in objects):
        for verb in ("create", "list"):
            if not cluster.may(verb, kind):
                yield error(
                    f"you may not {verb} {kind.resource} in namespace {cluster.namespace}; ask for a Role with this "
                    "verb (on GKE roles/container.developer has it)"
                )
        if not cluster.may("delete", kind):
            yield warning(
                f"you may not delete {kind.resource} in namespace {cluster.namespace}: others have to clean up"
            )
    for verb, subresource in (("list", ""), ("get", "log")):
        if not cluster.may(verb, POD, subresource):
            what = "pods/log" if subresource else "pods"
            yield warning(f"you may not {verb} {what} in namespace {cluster.namespace}: status and logs will show less")


def _check_jobset(objects: Sequence[Object], groups: dict[str, list[str]]) -> Iterator[Problem]:
    kind = KINDS["JobSet"]
    if not any(obj["kind"] == "JobSet" for obj in objects):
        return
    if kind.version not in groups.get(kind.group, []):
        yield error(
            f"several nodes train as a JobSet, which the cluster does not know ({kind.group}/{kind.version}); "
            f"install it, see {JOBSET_INSTALL}, or give --no_jobset"
        )


def _check_queue(objects: Sequence[Object], groups: dict[str, list[str]], cluster: Cluster) -> Iterator[Problem]:
    for queue in sorted(
        {queue for obj in objects if (queue := (obj["metadata"].get("labels") or {}).get(QUEUE_LABEL))}
    ):
        if KUEUE not in groups:
            yield error(f"--queue {queue}: the cluster has no Kueue; install it, see {KUEUE_INSTALL}, or leave it out")
            continue
        try:
            if cluster.get(Kind("localqueues", KUEUE, groups[KUEUE][0]), queue) is None:
                yield error(
                    f"--queue {queue}: there is no LocalQueue of that name in namespace {cluster.namespace}, and the "
                    "job would wait for ever; see: kubectl get localqueues"
                )
        except NotAllowed as denied:
            yield warning(f"--queue {queue}: {denied}")


def _check_nodes(found: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """GPUs that no node has now may still come: an autoscaler keeps node pools of no node."""
    asking = [workload for workload in found if workload.num_gpus]
    if not asking:
        return
    try:
        nodes = cluster.nodes()
    except NotAllowed:
        yield warning("you may not list nodes: whether one has the GPUs that are asked for was not looked at")
        return
    for workload in asking:
        fitting = [node for node in nodes if workload.node_selector.items() <= _labels(node).items()]
        most = max((_num_gpus(node) for node in fitting), default=0)
        if most < workload.num_gpus:
            asked = f"{workload.num_gpus} x {workload.node_selector.get(GKE_GPU, 'GPU')}"
            has = f"the largest has {most}" if most else f"its GPUs are: {', '.join(_types(nodes)) or 'none'}"
            yield warning(
                f"{workload.title}: no node of the cluster has {asked} now ({has}); its pods wait until the autoscaler "
                "adds one, for ever if no node pool has them: gcloud container node-pools list --cluster CLUSTER"
            )


def _check_named(found: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """Claims and service accounts that pods name: without them a pod waits, or is not even made."""
    num_pods: dict[str, int] = {}
    for workload in found:
        for claim in workload.claims:
            num_pods[claim] = num_pods.get(claim, 0) + workload.num_pods
    for claim, count in num_pods.items():
        try:
            made = cluster.get(CLAIM, claim)
        except NotAllowed as denied:
            yield warning(f"--pvc {claim}: {denied}")
            continue
        if made is None:
            yield error(f"--pvc {claim}: there is no such claim in namespace {cluster.namespace}; see: kubectl get pvc")
        elif count > 1 and not {"ReadWriteMany", "ReadOnlyMany"} & set(made["spec"].get("accessModes") or []):
            yield warning(
                f"--pvc {claim}: {count} pods share it, but its access mode is "
                f"{', '.join(made['spec'].get('accessModes') or [])}: those elsewhere would wait; take ReadWriteMany"
            )
    accounts = {account for workload in found if (account := workload.pod.get("serviceAccountName"))}
    for account in sorted(accounts):
        try:
            if cluster.get(SERVICE_ACCOUNT, account) is None:
                yield error(
                    f"--service_account {account}: there is none of that name in namespace {cluster.namespace}; "
                    f"make it: kubectl create serviceaccount {account}"
                )
        except NotAllowed as denied:
            yield warning(f"--service_account {account}: {denied}")


def _labels(node: Object) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _num_gpus(node: Object) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(GPU, 0))


def _types(nodes: Sequence[Object]) -> list[str]:
    return sorted({kind for node in nodes if (kind := _labels(node).get(GKE_GPU))})
