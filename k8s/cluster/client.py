"""Reads and changes the objects in one namespace of a cluster, as plain dicts, by Kubernetes' official client.

The client is large: it is imported when a cluster is connected to.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from beam_prep.console.errors import UsageError
from k8s.cluster.errors import NotThere, one_line, translate_errors
from k8s.cluster.kinds import EVENT, KINDS, POD, Kind, kind_of
from k8s.render.objects import INSTANCE, Object

CONNECT_S = 10.0
"""The time limit for a connection to the API server, s."""
TIMEOUT = {"_request_timeout": (CONNECT_S, 60.0)}
"""The client's option with the time limits for a connection and for the next bytes of an answer, s."""
CORE_VERBS = {"get": "read"}
"""The API verbs that the client's functions for the core group name otherwise."""
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The file in which a pod is told its own namespace."""


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connects to the cluster of the kubeconfig or, if there is no kubeconfig, to the cluster of this pod.

    Args:
        context: the context of the kubeconfig; None takes the current one.
        namespace: the namespace; None takes that of the context or of this pod, or else `default`.

    Raises:
        UsageError: no cluster is known, or the kubeconfig has no such context.
    """
    from kubernetes import client, config
    from urllib3.util import Retry
    from yaml import YAMLError

    path = os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
    configuration = client.Configuration()
    configuration.retries = Retry(3, connect=1)
    try:
        contexts, current = config.list_kube_config_contexts(config_file=path)
    except (config.ConfigException, YAMLError, TypeError) as missing:  # TypeError: the contexts are no list
        if context is not None:
            _no_kubeconfig(path, missing)
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            _no_kubeconfig(path, missing)
        pod_namespace = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.is_file() else None
        return Cluster(client.ApiClient(configuration), namespace or pod_namespace or "default")
    by_name = {entry["name"]: entry["context"] for entry in contexts}
    chosen = context or current["name"]
    if chosen not in by_name:
        raise UsageError(f"--context {chosen}: expected a context of the kubeconfig: {', '.join(sorted(by_name))}")
    try:
        config.load_kube_config(path, chosen, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise UsageError(f"context {chosen} of {path} can't be used: {error}") from None
    return Cluster(client.ApiClient(configuration), namespace or by_name[chosen].get("namespace") or "default")


def _no_kubeconfig(path: str, why: Exception) -> NoReturn:
    raise UsageError(
        f"found no cluster: {path}: {one_line(str(why))}; name a kubeconfig by KUBECONFIG, or on GKE: "
        "gcloud container clusters get-credentials CLUSTER"
    ) from None


class Cluster:
    """A namespace of a cluster. All methods raise the errors of `k8s.cluster.errors`.

    Args:
        api: a `kubernetes.client.ApiClient` with host and credentials.
        namespace: the namespace that all methods work in.
    """

    def __init__(self, api: Any, namespace: str) -> None:
        from kubernetes import client

        self.namespace = namespace
        self.host = str(api.configuration.host)
        self._api = api
        self._core: Any = client.CoreV1Api(api)
        self._grouped: Any = client.CustomObjectsApi(api)  # serves all API groups, not only CRDs
        # urllib3 would warn at each retry of a connection; the user gets one error line at the end.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    def create(self, obj: Object, *, dry_run: bool = False) -> None:
        """Creates an object; a field that the API does not know is an error.

        Args:
            obj: an object with apiVersion, kind, metadata.name and spec.
            dry_run: True makes the server check the object without creating it.

        Raises:
            NameInUse: an object of this kind and name exists, and passed all other checks of the server.
        """
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        self._call("create", kind_of(obj), obj["metadata"]["name"], body=obj, field_validation="Strict", **options)

    def find(self, kind: Kind, selector: str = "") -> tuple[list[Object], str]:
        """Returns the objects of a kind that have some labels, and the version of the list, which `changes` takes."""
        answer = self._call("list", kind, label_selector=selector)
        return answer.get("items") or [], answer["metadata"].get("resourceVersion", "")

    def objects(self, name: str) -> list[Object]:
        """Returns all objects of the submission `name` that exist, without pods."""
        objects: list[Object] = []
        for kind_name, kind in KINDS.items():
            try:
                items, _ = self.find(kind, f"{INSTANCE}={name}")
            except NotThere:  # JobSet is not installed in every cluster
                continue
            objects += [{**item, "kind": kind_name} for item in items]  # in lists the server leaves the kind out
        return objects

    def pods(self, name: str) -> list[Object]:
        """Returns the pods of a submission, oldest first."""
        items, _ = self.find(POD, f"{INSTANCE}={name}")
        return sorted(items, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))

    def events(self) -> list[Object]:
        """Returns the events of the namespace."""
        return self.find(EVENT)[0]

    def delete(self, obj: Object, *, foreground: bool) -> bool:
        """Asks the server to delete an object; returns False if it does not exist.

        Args:
            obj: the object.
            foreground: True deletes its dependents first, such as the pods of a Job; False deletes them afterwards.
        """
        policy = "Foreground" if foreground else "Background"
        name = obj["metadata"]["name"]
        try:
            self._call("delete", kind_of(obj), name, named=True, propagation_policy=policy)
        except NotThere:
            return False
        return True

    def changes(self, kind: Kind, selector: str, version: str, timeout_s: float) -> Iterator[Object]:
        """Yields the objects of a kind that change after a version of their list, for at most `timeout_s`.

        Ends without an error if the connection breaks or the server has forgotten the version; then the caller lists
        the objects again.
        """
        from kubernetes.client.exceptions import ApiException
        from kubernetes.watch import Watch
        from urllib3.exceptions import ProtocolError, ReadTimeoutError

        function, place = self._function("list", kind)
        seconds = max(1, round(timeout_s))
        options = {"label_selector": selector, "resource_version": version, "timeout_seconds": seconds}
        with translate_errors(f"watch {kind.resource} in namespace {self.namespace}", self.host):
            try:
                # Plain dicts: the client's models refuse values that they do not know.
                for event in Watch(return_type="object").stream(
                    function, *place, **options, _request_timeout=(CONNECT_S, seconds + CONNECT_S)
                ):
                    yield event["raw_object"]
            except (ProtocolError, ReadTimeoutError):
                return
            except ApiException as error:
                if error.status != 410:
                    raise

    def log(self, pod: str, container: str, *, follow: bool, since_s: int | None, tail: int | None) -> Iterator[str]:
        """Yields the lines of a container's log, with the time of the line (RFC 3339) and a space in front.

        Ends without an error if the connection breaks or no line comes for a minute; then the caller reads again.

        Args:
            pod: the name of the pod.
            container: the name of the container.
            follow: True waits for further lines until the container ends.
            since_s: the age of the oldest line, s; None reads from the beginning.
            tail: the number of lines at the end; None reads all.
        """
        from urllib3.exceptions import ProtocolError, ReadTimeoutError

        limits = {"since_seconds": since_s, "tail_lines": tail}
        given = {name: value for name, value in limits.items() if value is not None}
        with translate_errors(f"read pods/log {pod} in namespace {self.namespace}", self.host):
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                timestamps=True,
                _preload_content=False,
                **given,
                **TIMEOUT,
            )
            try:
                yield from _lines(answer.stream(amt=None, decode_content=False))
            except (ProtocolError, ReadTimeoutError):
                return
            finally:
                answer.close()  # or unread bytes would be taken for the next answer
                answer.release_conn()

    def may(self, verb: str, kind: Kind, subresource: str = "") -> bool:
        """Returns True if the credentials allow a verb on a kind in this namespace (SelfSubjectAccessReview)."""
        from kubernetes import client

        attributes = {"namespace": self.namespace, "verb": verb, "group": kind.group, "resource": kind.plural}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes | ({"subresource": subresource} if subresource else {})},
        }
        ask = client.AuthorizationV1Api(self._api).create_self_subject_access_review
        answer = self._answer("ask what the credentials allow", ask, body=review)
        return bool(answer["status"].get("allowed"))

    def has_namespace(self) -> bool:
        """Returns True if the namespace exists."""
        try:
            self._answer(f"get namespaces {self.namespace}", self._core.read_namespace, self.namespace)
        except NotThere:
            return False
        return True

    def nodes(self) -> list[Object]:
        """Returns all nodes of the cluster."""
        return self._answer("list nodes", self._core.list_node).get("items") or []

    def api_groups(self) -> dict[str, list[str]]:
        """Returns the versions of every API group by its name, the preferred version first."""
        from kubernetes import client

        answer = self._answer("list the kinds of the API", client.ApisApi(self._api).get_api_versions)
        return {
            group["name"]: [
                group["preferredVersion"]["version"],
                *(version["version"] for version in group["versions"] if version != group["preferredVersion"]),
            ]
            for group in answer["groups"]
        }

    def get(self, kind: Kind, name: str) -> Object | None:
        """Returns an object of the namespace by its name; None if it does not exist."""
        try:
            return self._call("get", kind, name, named=True)
        except NotThere:
            return None

    def _call(self, verb: str, kind: Kind, name: str = "", *, named: bool = False, **options: Any) -> Object:
        function, place = self._function(verb, kind)
        words = [verb, kind.resource, name, f"in namespace {self.namespace}"]
        if named and kind.group:
            options["name"] = name
        elif named:
            place = (name, *place)
        return self._answer(" ".join(filter(None, words)), function, *place, **options)

    def _function(self, verb: str, kind: Kind) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """Returns the client's function for a verb on a kind, and the arguments that say where the objects are."""
        if kind.group:
            function = getattr(self._grouped, f"{verb}_namespaced_custom_object")
            return function, (kind.group, kind.version, self.namespace, kind.plural)
        return getattr(self._core, f"{CORE_VERBS.get(verb, verb)}_namespaced_{kind.singular}"), (self.namespace,)

    def _answer(self, what: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Object:
        """Returns the server's JSON as it is, with the fields that this client's models do not know."""
        with translate_errors(what, self.host):
            answer = function(*arguments, **options, **TIMEOUT, _preload_content=False)
            return json.loads(answer.data)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yields the lines of a text that comes in chunks, also a last line without a line feed."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
