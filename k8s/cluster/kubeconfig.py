"""Connects to the cluster that a kubeconfig names, or to the cluster of this pod. The client is imported on use."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from beam_prep.console.errors import UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import MAX_REASON, one_line
from k8s.render.objects import Object

DEFAULT_PATH = "~/.kube/config"
"""The kubeconfig where the variable KUBECONFIG names none."""
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The file in which a pod is told its own namespace."""
MALFORMED = (OSError, ValueError, TypeError, KeyError, AttributeError)
"""The errors that Kubernetes' client raises on a kubeconfig that it can't read, or that lacks a part."""


@dataclass(frozen=True)
class _Kubeconfig:
    """The kubeconfig files that the environment names, merged.

    Attributes:
        path: their paths, as KUBECONFIG has them.
        contexts: the contexts by name.
        users: the users by name.
        current: the name of the current context, which may not exist; empty if there is none.
    """

    path: str
    contexts: dict[str, Object]
    users: dict[str, Object]
    current: str

    def install_hint(self, context: str) -> str:
        """Returns what the kubeconfig says on how to install the login command of a context; mostly nothing."""
        login = self.users.get(self.contexts[context].get("user", ""), {}).get("exec") or {}
        return one_line(login.get("installHint") or "")[:MAX_REASON]


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connects to the cluster of the kubeconfig or, if there is no kubeconfig, to the cluster of this pod.

    Args:
        context: the context of the kubeconfig; None takes the current one.
        namespace: the namespace; None takes that of the context or of this pod, or else `default`.

    Raises:
        UsageError: no cluster is known, the kubeconfig has no such context, or its login command fails.
    """
    from kubernetes import client, config
    from urllib3.util import Retry

    path = os.environ.get("KUBECONFIG") or DEFAULT_PATH
    configuration = client.Configuration()
    configuration.retries = Retry(3, connect=1)
    try:
        kubeconfig = _read(path)
    except config.ConfigException as missing:
        if context is not None:
            _no_kubeconfig(missing)
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            _no_kubeconfig(missing)
        pod_namespace = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.is_file() else None
        return Cluster(_api(configuration), namespace or pod_namespace or "default")
    chosen = context or kubeconfig.current
    if chosen not in kubeconfig.contexts:
        what = (
            f"--context {chosen}: the kubeconfig has no such context"
            if context
            else f"the current context of {path} is {kubeconfig.current or 'not set'}"
        )
        raise UsageError(f"{what}; choose one by --context: {', '.join(sorted(kubeconfig.contexts))}")
    _load(kubeconfig, chosen, configuration)
    own = kubeconfig.contexts[chosen].get("namespace")
    return Cluster(_api(configuration), namespace or own or "default", context)


def _read(path: str) -> _Kubeconfig:
    """Reads and merges kubeconfig files; a file that does not exist, or is empty, adds nothing.

    Raises:
        kubernetes.config.ConfigException: a file can't be read, or no context is in any of them.
    """
    from kubernetes import config
    from kubernetes.config.kube_config import KubeConfigMerger

    files = [file for file in path.split(os.pathsep) if file and _has_content(os.path.expanduser(file))]
    if not files:
        raise config.ConfigException(f"{path}: found no such file, or only an empty one")
    try:
        merged = KubeConfigMerger(os.pathsep.join(files)).config.value
        contexts, users = (
            {entry.value["name"]: dict(entry.value[part] or {}) for entry in merged[f"{part}s"]}
            for part in ("context", "user")
        )
        current = str(merged.get("current-context") or "")
    except MALFORMED:
        raise config.ConfigException(f"{path}: expected clusters, contexts and users, found something else") from None
    if not contexts:
        raise config.ConfigException(f"{path}: found no context of a cluster")
    return _Kubeconfig(os.pathsep.join(files), contexts, users, current)


def _has_content(file: str) -> bool:
    """Returns True if a kubeconfig file exists and is not empty.

    Raises:
        kubernetes.config.ConfigException: the file can't be read, or is not YAML.
    """
    import yaml
    from kubernetes import config

    try:
        with open(file, encoding="utf-8") as stream:  # of a stream, a message quotes no lines, which may hold secrets
            return yaml.safe_load(stream) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise config.ConfigException(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise config.ConfigException(f"{file} is no YAML: {error}") from None


def _load(kubeconfig: _Kubeconfig, context: str, configuration: Any) -> None:
    """Gives the client's configuration the server and the credentials of a context.

    Raises:
        UsageError: a part of the kubeconfig or a file that it names is wrong, or its login command fails.
    """
    from kubernetes import config

    try:
        with _collected_errors() as login_errors:
            config.load_kube_config(kubeconfig.path, context, client_configuration=configuration)
    except (config.ConfigException, *MALFORMED) as error:
        raise _unusable(kubeconfig, context, str(error)) from None
    if login_errors:
        why = one_line("; ".join(login_errors))[:MAX_REASON]
        how = kubeconfig.install_hint(context) or (
            "gcloud components install gke-gcloud-auth-plugin, then gcloud auth login (GKE)"
        )
        raise UsageError(
            f"the login command of context {context} failed: {why}; log in, or install the command that the kubeconfig "
            f"names: {how}"
        )
    if not configuration.host.startswith(("http://", "https://")):
        raise _unusable(kubeconfig, context, f"its server is {configuration.host}, expected https://HOST")


def _unusable(kubeconfig: _Kubeconfig, context: str, why: str) -> UsageError:
    return UsageError(f"context {context} of {kubeconfig.path} can't be used: {one_line(why)[:MAX_REASON]}")


def _api(configuration: Any) -> Any:
    """Returns the client of a configuration.

    Raises:
        UsageError: the proxy that the environment or the kubeconfig names can't be used.
    """
    from kubernetes import client
    from urllib3.exceptions import HTTPError, InsecureRequestWarning

    if not configuration.verify_ssl:  # as the kubeconfig says; the warning would come with each request
        warnings.simplefilter("ignore", InsecureRequestWarning)
    try:
        return client.ApiClient(configuration)
    except (HTTPError, ImportError) as error:
        raise UsageError(
            f"the proxy of HTTPS_PROXY, or of proxy-url in the kubeconfig, can't be used: {one_line(str(error))}"
        ) from None


class _Collector(logging.Handler):
    """Collects the messages of errors.

    Attributes:
        messages: the messages, in the order in which they were logged.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _collected_errors() -> Iterator[list[str]]:
    """Collects what the block logs as an error, and prints nothing of it.

    That a login command failed is only logged by the client.
    """
    handler, root = _Collector(), logging.getLogger()
    others, root.handlers = root.handlers, [handler]
    try:
        yield handler.messages
    finally:
        root.handlers = others


def _no_kubeconfig(why: Exception) -> NoReturn:
    raise UsageError(
        f"found no cluster: {one_line(str(why))[:MAX_REASON]}; name a kubeconfig by KUBECONFIG, or on GKE: "
        "gcloud container clusters get-credentials CLUSTER"
    ) from None
