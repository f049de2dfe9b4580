"""Checks that a cluster has what a submission needs: permissions, JobSet, Kueue, GPUs, claims, accounts, Secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from beam_prep.console.errors import UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import ASK_FOR_ROLE, JOBSET_INSTALL, NotAllowed, OverQuota, no_namespace
from k8s.cluster.kinds import CLAIM, EVENT, KINDS, POD, SECRET, SERVICE_ACCOUNT, Kind, labels_of
from k8s.cluster.status import RUNNABLE
from k8s.preflight.node_checks import check_nodes
from k8s.preflight.problem import Problem, error, warning
from k8s.preflight.workload import Workload
from k8s.render.objects import QUEUE_LABEL, Object

KUEUE = "kueue.x-k8s.io"
DRY_RUN_NAME = "cxrflow-preflight"
"""The name of the pod that the server only checks."""
KUEUE_INSTALL = "https://kueue.sigs.k8s.io/docs/installation"


def check_cluster(
    objects: Sequence[Object], workloads: Sequence[Workload], cluster: Cluster, *, replace: bool = False
) -> Iterator[Problem]:
    """Yields the problems that a submission has in a cluster.

    Args:
        objects: the rendered objects.
        workloads: the workloads of the objects.
        cluster: the namespace that the objects are for.
        replace: True if an older submission of their name is deleted before they are created.

    Raises:
        CxrflowError: the cluster can't be reached, or refuses the credentials.
    """
    exists = cluster.has_namespace()
    if not exists:
        yield error(f"{no_namespace(cluster.namespace)}, or name another one by --namespace")
    yield from _check_permissions(objects, cluster)
    yield from _check_jobset(objects, cluster)
    yield from check_nodes(workloads, cluster)
    if exists:
        yield from _check_queue(objects, cluster)
        yield from _check_claims(workloads, cluster)
        yield from _check_service_accounts(workloads, cluster)
        yield from _check_secrets(workloads, cluster)
        yield from _check_pods(workloads, cluster, replace)


def _check_permissions(objects: Sequence[Object], cluster: Cluster) -> Iterator[Problem]:
    work = [obj["kind"] for obj in objects if obj["kind"] in RUNNABLE]
    for kind_name in dict.fromkeys(obj["kind"] for obj in objects):
        kind = KINDS[kind_name]
        needed = {"create": "nothing can be sent", "list": "a name in use would not be noticed"}
        useful = {"delete": "`delete` and --replace can't clean up, others have to"}
        if kind_name in work:
            useful["watch"] = "`wait` would not notice the end"
        else:
            useful["patch"] = "it stays when the work is gone, until `delete`"
        for verb, lost in {**needed, **useful}.items():
            if not cluster.may(verb, kind):
                problem = error if verb in needed else warning
                yield problem(
                    f"you may not {verb} {kind.resource} in namespace {cluster.namespace}: {lost}; {ASK_FOR_ROLE}"
                )
    for verb, kind, subresource, lost in (
        ("list", POD, "", "`status`, `logs`, `wait` and `delete` need the pods"),
        ("get", POD, "log", "`logs` will fail"),
        ("list", EVENT, "", "`status` will not say why a pod waits"),
    ):
        if not cluster.may(verb, kind, subresource):
            what = f"{kind.resource}/{subresource}" if subresource else kind.resource
            yield warning(f"you may not {verb} {what} in namespace {cluster.namespace}: {lost}; {ASK_FOR_ROLE}")


def _check_pods(workloads: Sequence[Workload], cluster: Cluster, replace: bool) -> Iterator[Problem]:
    """Asks the server to check one pod of each template: Pod Security, LimitRange, quotas and other admission checks.

    The server checks the pods of a Job only when its controller creates them, and then nobody sees the answer.
    """
    if not cluster.may("create", POD):
        return  # only the controller may: nothing can be asked
    for workload in workloads:
        metadata = {**workload.metadata, "name": DRY_RUN_NAME, "namespace": cluster.namespace}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": workload.pod}
        try:
            cluster.create(pod, dry_run=True)
        except OverQuota as full:
            old = ", unless the old pods that --replace deletes leave enough" if replace else ""
            yield warning(f"{workload.title}: its pods wait until the quota has room{old}: {full}")
        except UsageError as refused:
            yield error(f"{workload.title}: the cluster would refuse its pods: {refused}")


def _check_jobset(objects: Sequence[Object], cluster: Cluster) -> Iterator[Problem]:
    kind = KINDS["JobSet"]
    if not any(obj["kind"] == "JobSet" for obj in objects):
        return
    if kind.version not in cluster.api_groups(kind.group):
        yield error(
            f"several nodes train as a JobSet, which the cluster does not know ({kind.group}/{kind.version}); "
            f"install it, see {JOBSET_INSTALL}, or give --no_jobset"
        )


def _check_queue(objects: Sequence[Object], cluster: Cluster) -> Iterator[Problem]:
    versions = cluster.api_groups(KUEUE)
    for queue in sorted({queue for obj in objects if (queue := labels_of(obj).get(QUEUE_LABEL))}):
        if not versions:
            yield error(f"--queue {queue}: the cluster has no Kueue; install it, see {KUEUE_INSTALL}, or leave it out")
            continue
        try:
            if cluster.get(Kind("localqueues", KUEUE, versions[0]), queue) is None:
                yield error(
                    f"--queue {queue}: there is no LocalQueue of that name in namespace {cluster.namespace}, and the "
                    "job would wait forever; see: kubectl get localqueues"
                )
        except NotAllowed as denied:
            yield warning(f"--queue {queue}: {denied}")


def _check_claims(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """Checks that the volume claims exist, without which a pod waits, and that all their pods can mount them."""
    num_pods: Counter[str] = Counter()
    for workload in workloads:
        num_pods.update(dict.fromkeys(workload.claims, workload.num_pods))
    for name, count in num_pods.items():
        try:
            claim = cluster.get(CLAIM, name)
        except NotAllowed as denied:
            yield warning(f"--pvc {name}: {denied}")
            continue
        if claim is None:
            yield error(f"--pvc {name}: there is no such claim in namespace {cluster.namespace}; see: kubectl get pvc")
            continue
        modes = claim["spec"].get("accessModes") or []
        if count > 1 and not {"ReadWriteMany", "ReadOnlyMany"} & set(modes):
            yield warning(
                f"--pvc {name}: {count} pods share it, but its access mode is {', '.join(modes)}: pods on other nodes "
                "would wait; take ReadWriteMany"
            )


def _check_service_accounts(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """Checks that the service accounts exist, without which no pod is created."""
    accounts = {account for workload in workloads if (account := workload.pod.get("serviceAccountName"))}
    for account in sorted(accounts):
        try:
            if cluster.get(SERVICE_ACCOUNT, account) is None:
                yield error(
                    f"--service_account {account}: there is no such account in namespace {cluster.namespace}; "
                    f"create it: kubectl create serviceaccount {account}"
                )
        except NotAllowed as denied:
            yield warning(f"--service_account {account}: {denied}")


def _check_secrets(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[Problem]:
    """Checks that the Secrets exist and have their keys, without which a pod waits. No value is kept or shown."""
    for name, key in sorted({secret for workload in workloads for secret in workload.secrets}):
        flag, make = f"--{key}_secret {name}", f"kubectl create secret generic {name} --namespace {cluster.namespace}"
        try:
            secret = cluster.get(SECRET, name)
        except NotAllowed as denied:
            yield warning(f"{flag}: {denied}; the pods wait if there is no Secret {name} with the key {key}")
            continue
        if secret is None:
            yield error(
                f"{flag}: there is no such Secret in namespace {cluster.namespace}; make it: {make} "
                f"--from-file={key}=FILE, where FILE holds at least 16 random bytes, as of: openssl rand -hex 32"
            )
        elif key not in (secret.get("data") or {}):
            keys = ", ".join(secret.get("data") or {}) or "none"
            yield error(
                f"{flag}: expected a key {key}, found {keys}; make the Secret anew: {make} --from-file={key}=FILE"
            )
