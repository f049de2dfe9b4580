"""Translates failed requests to the API server into the errors that a user meets.

CxrflowError
├── UsageError
│   ├── NameInUse       an object of that name exists
│   ├── NotAllowed      HTTP 403 by the access rules or an admission check
│   │   └── NotLoggedIn HTTP 401, or 403 of a request without credentials
│   ├── NotTrusted      the certificate of the server is not the one that the kubeconfig trusts
│   ├── Replaced        another object has the name of the one that is meant
│   └── NotThere        the object, its namespace, or its kind (the CRD) does not exist
└── RunError
    ├── OverQuota       HTTP 403 by a quota
    ├── NotStarted      a container has no log yet
    └── Unreachable     no answer, or an answer that says try again
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import CxrflowError, RunError, UsageError

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException

JOBSET_INSTALL = "https://jobset.sigs.k8s.io/docs/installation"
LOG_IN = (
    "log in again, on GKE with: gcloud auth login, then gcloud container clusters get-credentials CLUSTER; "
    "a login plugin that the kubeconfig names must be installed"
)
ASK_FOR_ROLE = "ask for a Role with this verb (on GKE roles/container.developer has it)"
ANONYMOUS = "system:anonymous"
"""The user as whom the API server takes a request without credentials."""
READING = ("list ", "read ", "watch ")
"""The verbs of requests that commands repeat while they wait."""
MAX_REASON = 300
"""The longest text of others in a message, in characters: some login commands print their whole help."""
TRY_AGAIN = (408, 429, 500, 502, 503, 504)
"""The HTTP codes after which the same request may succeed later."""


class NameInUse(UsageError):
    """An object of that name exists in the namespace."""


class NotAllowed(UsageError):
    """The credentials do not allow the request."""


class NotLoggedIn(NotAllowed):
    """The cluster refuses the credentials, or got none."""


class NotTrusted(UsageError):
    """TLS does not accept the certificate of the API server."""


class NotThere(UsageError):
    """The object, its namespace or its kind does not exist in the cluster."""


class Replaced(UsageError):
    """Another object has the name of the object that is meant."""


class OverQuota(RunError):
    """A quota of the namespace does not allow another object."""


class NotStarted(RunError):
    """A container has not started, and so has no log."""


class Unreachable(RunError):
    """The cluster does not answer, or answers that it can't serve the request now."""


def one_line(text: str) -> str:
    """Returns a text with each run of spaces and line breaks as one space."""
    return " ".join(text.split())


def no_namespace(name: str) -> str:
    """Returns the message that a namespace does not exist, and how to create it."""
    return f"there is no namespace {name}; create it: kubectl create namespace {name}"


@contextmanager
def translate_errors(what: str, host: str, allowed: set[str]) -> Iterator[None]:
    """Translates the exceptions that Kubernetes' client raises in the block into the errors of this module.

    An API server that has just started may not know all roles yet: it refuses what it has allowed before.

    Args:
        what: the request in words, such as `create jobs.batch train in namespace team`.
        host: the URL of the API server.
        allowed: verb and resource of all requests that were allowed; the request is added if it is.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    request = " ".join(what.split()[:2])
    try:
        yield
    except ApiException as error:
        translated = _translate(error, what, host)
        if isinstance(translated, NotAllowed) and request in allowed and request.startswith(READING):
            translated = Unreachable(f"{translated}; it was allowed before")
        raise translated from None
    except (HTTPError, OSError) as error:
        raise _unreachable(host, str(error)) from None
    except json.JSONDecodeError:
        raise UsageError(
            f"can't {what}: {host} answers, but not as an API server of Kubernetes does; is it one?"
        ) from None
    allowed.add(request)


def _translate(error: ApiException, what: str, host: str) -> CxrflowError:
    """Returns the error that a user meets for a refusal by the API server; see `translate_errors`."""
    status = _status_of(error)
    text = str(error.body or "")  # of a server that speaks no TLS, or of a proxy, whose pages tell a user nothing
    plain = "" if status or text.lstrip().startswith("<") else text[:MAX_REASON]
    message = one_line(str(status.get("message") or plain or error.reason or error.status))
    if not error.status:  # the client has no HTTP code where TLS failed
        return _unreachable(host, message)
    if error.status == 400 and "waiting to start" in message:
        return NotStarted(f"can't {what}: {message}")
    if error.status == 401:
        return NotLoggedIn(f"can't {what}: {host} refuses the credentials (401); {LOG_IN}")
    if error.status == 403:
        return _forbidden(message, what)
    if error.status == 404:
        return _not_found(status, message, what)
    if error.status == 409 and status.get("reason") == "AlreadyExists":
        return NameInUse(f"can't {what}: the name is in use; take another name, or delete the object that has it")
    if error.status == 409 and "UID in precondition" in message:
        return Replaced(f"can't {what}: {message}")
    if error.status in TRY_AGAIN:
        return Unreachable(f"can't {what}: {host} answers {error.status}: {message}; try again")
    return UsageError(f"can't {what}: {message}")


def _status_of(error: ApiException) -> dict[str, Any]:
    """Returns the Status object in an answer; empty if it has none (the server does not know the path)."""
    try:
        content = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _forbidden(message: str, what: str) -> CxrflowError:
    quota = re.search(r"(exceeded|insufficient) quota.*", message)
    if quota:
        return OverQuota(f"can't {what}: {quota[0]}; wait for other jobs to end, ask for less, or raise the quota")
    denied = re.search(r'User "([^"]*)" cannot (\w+) (?:resource|path) "([^"]*)"', message)
    if denied:
        user, verb, resource = denied.groups()
        if user == ANONYMOUS:
            return NotLoggedIn(f"can't {what}: the request had no credentials (403); {LOG_IN}")
        return NotAllowed(f"can't {what}: user {user} may not {verb} {resource}; {ASK_FOR_ROLE}")
    return NotAllowed(f"can't {what}: {message}")


def _not_found(status: dict[str, Any], message: str, what: str) -> CxrflowError:
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        return NotThere(f"can't {what}: {no_namespace(str(details.get('name')))}")
    if not details.get("name"):
        how = f"; install JobSet, see {JOBSET_INSTALL}" if "jobsets" in what else ""
        return NotThere(f"can't {what}: the cluster does not know this kind of object{how}")
    return NotThere(f"can't {what}: {message}")


def _unreachable(host: str, why: str) -> CxrflowError:
    if untrusted := re.search(r"certificate verify failed: ([^(\"]*)", why):
        return NotTrusted(
            f"the certificate of {host} is not trusted: {one_line(untrusted[1])}; the kubeconfig is of "
            "another cluster or outdated, on GKE renew it: gcloud container clusters get-credentials CLUSTER"
        )
    if broken := re.search(r"\[(?:SSL|X509: \w+)\] (PEM lib|no certificate or crl found)", why):
        return NotTrusted(f"a certificate or key that the kubeconfig names can't be read: {broken[1]}")
    if "ProxyError" in why:
        host += ", to which the proxy of HTTPS_PROXY or of proxy-url in the kubeconfig leads,"
    errno = re.search(r"\[Errno -?\d+\] ([\w ]+)", why)
    known = {"timed out": "no answer in time", "RemoteDisconnected": "it closed the connection"}
    short = next((said for words, said in known.items() if words in why), None)
    return Unreachable(
        f"the cluster at {host} does not answer: {errno[1] if errno else short or one_line(why)}; "
        "is it up, and is this the right --context?"
    )
