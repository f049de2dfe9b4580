"""A namespace of a cluster: plain API objects in and out, by the official client, which loads on use."""

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
READ_S = 60.0
TIMEOUT = {"_request_timeout": (CONNECT_S, READ_S)}
CORE_VERBS = {"get": "read"}  # as the client calls them
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """The cluster of the kubeconfig, or else the one that this process runs in.

    Args:
        context: of the kubeconfig; the current one if not given.
        namespace: that of the context, or of this pod, if not given, or else `default`.

    Raises:
        UsageError: there is no cluster, or no such context.
    """
    from kubernetes import client, config
    from urllib3.util import Retry
    from yaml import YAMLError

    path = os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
    configuration = client.Configuration()
    configuration.retries = Retry(3, connect=1)
    try:
        contexts, current = config.list_kube_config_contexts(config_file=path)
    except (config.ConfigException, YAMLError, TypeError) as missing:  # TypeError: a list that is none
        if context is not None:
            _no_kubeconfig(path, missing)
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            _no_kubeconfig(path, missing)
        of_pod = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.is_file() else None
        return Cluster(client.ApiClient(configuration), namespace or of_pod or "default")
    by_name = {each["name"]: each["context"] for each in contexts}
    chosen = context or current["name"]
    if chosen not in by_name:
        raise UsageError(f"--context {chosen}: expected one of the kubeconfig: {', '.join(sorted(by_name))}")
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
        api: `kubernetes.client.ApiClient` with host and credentials.
        namespace: whose objects are meant.
    """

    def __init__(self, api: Any, namespace: str) -> None:
        from kubernetes import client

        self.namespace = namespace
        self.host = str(api.configuration.host)
        self._api = api
        self._core: Any = client.CoreV1Api(api)
        self._grouped: Any = client.CustomObjectsApi(api)  # serves the objects of all groups, not of CRDs only
        # Of a failed connection the user gets one line, not one for each retry.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    def create(self, obj: Object, *, dry_run: bool = False) -> None:
        """Creates an object; a field that the API does not know is an error.

        Args:
            obj: with apiVersion, kind, metadata.name and spec.
            dry_run: all the server's checks, but nothing is made.

        Raises:
            NameInUse: there is one of this kind and name. The server says so after all its other checks.
        """
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        self._call("create", kind_of(obj), obj["metadata"]["name"], body=obj, field_validation="Strict", **options)

    def find(self, kind: Kind, selector: str = "") -> tuple[list[Object], str]:
        """Objects of a kind by labels, and the version of the list, for `changes`."""
        answer = self._call("list", kind, label_selector=selector)
        return answer.get("items") or [], answer["metadata"].get("resourceVersion", "")

    def objects(self, name: str) -> list[Object]:
        """All that the submission `name` made and that is still there, without pods."""
        found = []
        for kind_name, kind in KINDS.items():
            try:
                items, _ = self.find(kind, f"{INSTANCE}={name}")
            except NotThere:  # JobSet is not in every cluster
                continue
            found += [{**item, "kind": kind_name} for item in items]  # in lists the server leaves the kind out
        return found

    def pods(self, name: str) -> list[Object]:
        """The pods of a submission, oldest first."""
        items, _ = self.find(POD, f"{INSTANCE}={name}")
        return sorted(items, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))

    def events(self) -> list[Object]:
        """The events of the namespace."""
        return self.find(EVENT)[0]

    def delete(self, obj: Object, *, foreground: bool) -> bool:
        """Asks for an object to be deleted, what it owns before it or after it; False if there is none."""
        policy = "Foreground" if foreground else "Background"
        name = obj["metadata"]["name"]
        try:
            self._call("delete", kind_of(obj), name, named=True, propagation_policy=policy)
        except NotThere:
            return False
        return True

    def changes(self, kind: Kind, selector: str, version: str, timeout_s: float) -> Iterator[Object]:
        """The objects of a kind that change after a version of their list, for at most `timeout_s`.

        Ends without an error also where the connection breaks or the server has forgotten the version: list again.
        """
        from kubernetes.client.exceptions import ApiException
        from kubernetes.watch import Watch
        from urllib3.exceptions import ProtocolError, ReadTimeoutError

        function, place = self._function("list", kind)
        seconds = max(1, round(timeout_s))
        options = {"label_selector": selector, "resource_version": version, "timeout_seconds": seconds}
        with translate_errors(f"watch {kind.resource} in namespace {self.namespace}", self.host):
            try:
                # As plain objects, too: the client's models refuse what they do not know.
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
        """The lines of a container's log, each with its time in front (RFC 3339, a space).

        Ends also where the connection breaks or nothing comes for a minute: ask again.

        Args:
            pod: its name.
            container: of the pod.
            follow: stay until the container ends.
            since_s: nothing older.
            tail: so many lines from the end.
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
                answer.close()  # or what is unread would be taken for the next answer
                answer.release_conn()

    def may(self, verb: str, kind: Kind, subresource: str = "") -> bool:
        """Whether the credentials allow a verb on a kind in this namespace (SelfSubjectAccessReview)."""
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
        """Whether the namespace exists."""
        try:
            self._answer(f"get namespaces {self.namespace}", self._core.read_namespace, self.namespace)
        except NotThere:
            return False
        return True

    def nodes(self) -> list[Object]:
        """All nodes of the cluster."""
        return self._answer("list nodes", self._core.list_node).get("items") or []

    def api_groups(self) -> dict[str, list[str]]:
        """The groups of the API, each with its versions, the preferred one first."""
        from kubernetes import client

        answer = self._answer("list the kinds of the API", client.ApisApi(self._api).get_api_versions)
        return {
            group["name"]: [
                group["preferredVersion"]["version"],
                *(each["version"] for each in group["versions"] if each != group["preferredVersion"]),
            ]
            for group in answer["groups"]
        }

    def get(self, kind: Kind, name: str) -> Object | None:
        """An object of the namespace; None if there is none of that name."""
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
        """The client's function for a kind, and the arguments that say where its objects are."""
        if kind.group:
            function = getattr(self._grouped, f"{verb}_namespaced_custom_object")
            return function, (kind.group, kind.version, self.namespace, kind.plural)
        return getattr(self._core, f"{CORE_VERBS.get(verb, verb)}_namespaced_{kind.singular}"), (self.namespace,)

    def _answer(self, what: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Object:
        """The server's JSON as it is: fields that this client's models do not know are not lost."""
        with translate_errors(what, self.host):
            answer = function(*arguments, **options, **TIMEOUT, _preload_content=False)
            return json.loads(answer.data)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Text in chunks to its lines, the last one also without a line feed."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
