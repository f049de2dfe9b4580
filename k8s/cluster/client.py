"""Reads and changes the objects in one namespace of a cluster, as plain dicts, by Kubernetes' official client.

The client is large: it is imported when a cluster is connected to.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from k8s.cluster.errors import NotAllowed, NotLoggedIn, NotThere, Replaced, one_line, translate_errors
from k8s.cluster.kinds import EVENT, KINDS, POD, Kind, kind_of
from k8s.render.objects import INSTANCE, Object

CONNECT_S = 10.0
"""The time limit for a connection to the API server, s."""
TIMEOUT = {"_request_timeout": (CONNECT_S, 60.0)}
"""The client's option with the time limits for a connection and for the next bytes of an answer, s."""
CORE_VERBS = {"get": "read"}
"""The API verbs that the client's functions for the core group name otherwise."""


class Cluster:
    """A namespace of a cluster. All methods raise the errors of `k8s.cluster.errors`.

    Args:
        api: a `kubernetes.client.ApiClient` with host and credentials.
        namespace: the namespace that all methods work in.
        context: the context of the kubeconfig, if the user chose one.

    Attributes:
        namespace: the namespace that all methods work in.
        host: the URL of the API server.
        unseen: the refusals to list a kind of objects, by the kind; objects of these kinds are not found.
        warnings: the warnings of the server about objects that were created, each once.
    """

    def __init__(self, api: Any, namespace: str, context: str | None = None) -> None:
        from kubernetes import client

        self.namespace = namespace
        self._context = context
        self.host = str(api.configuration.host)
        self.unseen: dict[str, NotAllowed] = {}
        self.warnings: list[str] = []
        self._allowed: set[str] = set()
        self._groups: dict[str, list[str]] | None = None
        self._api = api
        self._core: Any = client.CoreV1Api(api)
        self._grouped: Any = client.CustomObjectsApi(api)  # serves all API groups, not only CRDs
        # urllib3 would warn at each retry of a connection.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    def flags(self, name: str) -> str:
        """Returns the flags that select a submission of this namespace, for a command to copy."""
        context = ["--context", self._context] if self._context else []
        return shlex.join(["--name", name, "--namespace", self.namespace, *context])

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Creates an object and returns it as the server has it; a field that the API does not know is an error.

        Args:
            obj: an object with apiVersion, kind, metadata.name and spec.
            dry_run: True makes the server check the object without creating it.

        Raises:
            NameInUse: an object of this kind and name exists, and passed all other checks of the server.
        """
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        name = obj["metadata"]["name"]
        return self._call("create", kind_of(obj), name, body=obj, field_validation="Strict", **options)

    def find(self, kind: Kind, selector: str = "") -> tuple[list[Object], str]:
        """Returns the objects of a kind that have some labels, and the version of the list, which `changes` takes."""
        answer = self._call("list", kind, label_selector=selector)
        return answer.get("items") or [], answer["metadata"].get("resourceVersion", "")

    def objects(self, name: str) -> list[Object]:
        """Returns all objects of the submission `name` that exist and may be listed, without pods; see `unseen`.

        Raises:
            NotAllowed: no kind of objects may be listed.
        """
        objects: list[Object] = []
        known = [name for name, kind in KINDS.items() if not kind.group or kind.version in self.api_groups(kind.group)]
        for kind_name in known:  # a kind that is not installed, as JobSet often, would be refused, not empty
            if kind_name in self.unseen:
                continue
            try:
                items, _ = self.find(KINDS[kind_name], f"{INSTANCE}={name}")
            except NotLoggedIn:
                raise
            except NotAllowed as denied:
                self.unseen[kind_name] = denied
                continue
            objects += [{**item, "kind": kind_name} for item in items]  # in lists the server leaves the kind out
        if len(self.unseen) == len(known):
            raise self.unseen["Job"]
        return objects

    def pods(self, name: str) -> list[Object]:
        """Returns the pods of a submission, oldest first."""
        items, _ = self.find(POD, f"{INSTANCE}={name}")
        return sorted(items, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))

    def events(self) -> list[Object]:
        """Returns the events of the namespace."""
        return self.find(EVENT)[0]

    def set_owners(self, obj: Object, owners: Sequence[Object]) -> None:
        """Lets the server delete an object once none of its owners is left.

        Args:
            obj: an object that exists.
            owners: objects as the server has them, with their uid.
        """
        references = [
            {field: owner[field] for field in ("apiVersion", "kind")}
            | {field: owner["metadata"][field] for field in ("name", "uid")}
            for owner in owners
        ]
        # The client sends a merge patch for the kinds of API groups, and a JSON patch for those of the core group.
        merge = {"metadata": {"ownerReferences": references}}
        steps = [{"op": "add", "path": "/metadata/ownerReferences", "value": references}]
        kind = kind_of(obj)
        self._call("patch", kind, obj["metadata"]["name"], named=True, body=merge if kind.group else steps)

    def delete(self, obj: Object, *, foreground: bool) -> bool:
        """Asks the server to delete an object; returns False if it does not exist, or another one has its name.

        Args:
            obj: the object; without its uid, whatever object has its name.
            foreground: True deletes its dependents first, such as the pods of a Job; False deletes them afterwards.
        """
        policy = "Foreground" if foreground else "Background"
        body = {"propagationPolicy": policy, "preconditions": {"uid": obj["metadata"].get("uid")}}
        try:
            self._call("delete", kind_of(obj), obj["metadata"]["name"], named=True, body=body)
        except (NotThere, Replaced):
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
        with translate_errors(f"watch {kind.resource} in namespace {self.namespace}", self.host, self._allowed):
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
        with translate_errors(f"read pods/log {pod} in namespace {self.namespace}", self.host, self._allowed):
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
        """Returns True if the namespace exists, or if the credentials do not allow to look."""
        try:
            self._answer(f"get namespaces {self.namespace}", self._core.read_namespace, self.namespace)
        except NotThere:
            return False
        except NotLoggedIn:
            raise
        except NotAllowed:
            return True
        return True

    def nodes(self) -> list[Object]:
        """Returns all nodes of the cluster."""
        return self._answer("list nodes", self._core.list_node).get("items") or []

    def api_groups(self, group: str) -> list[str]:
        """Returns the versions of an API group, the preferred version first; none if it is not installed."""
        from kubernetes import client

        if self._groups is None:
            answer = self._answer("list the kinds of the API", client.ApisApi(self._api).get_api_versions)
            self._groups = {
                group["name"]: [
                    group["preferredVersion"]["version"],
                    *(version["version"] for version in group["versions"] if version != group["preferredVersion"]),
                ]
                for group in answer["groups"]
            }
        return self._groups.get(group, [])

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
        with translate_errors(what, self.host, self._allowed):
            answer = function(*arguments, **options, **TIMEOUT, _preload_content=False)
            self._keep_warnings(answer.headers.getlist("Warning"))
            return json.loads(answer.data)

    def _keep_warnings(self, headers: Sequence[str]) -> None:
        """Keeps the texts of Warning headers, such as `299 - "spec.x is deprecated"` (RFC 7234, section 5.5)."""
        for header in headers:
            for quoted in re.findall(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"', header):
                text = one_line(re.sub(r"\\(.)", r"\1", quoted))
                if text not in self.warnings:
                    self.warnings.append(text)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yields the lines of a text that comes in chunks, also a last line without a line feed."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
