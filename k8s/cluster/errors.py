"""What the API server answers, as the errors that a user meets.

CxrflowError
├── UsageError
│   ├── NameInUse       an object of that name exists
│   ├── NotAllowed      401, or 403 by the access rules or an admission check
│   └── NotThere        the object, its namespace, or its kind (the CRD) does not exist
└── RunError
    ├── OverQuota       403 by a quota
    ├── NotStarted      a container has no log yet
    └── Unreachable     no answer, or one that says try again
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
TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class NameInUse(UsageError):
    """An object of that name exists."""


class NotAllowed(UsageError):
    """The credentials are refused, or do not allow this."""


class NotThere(UsageError):
    """The object, its namespace or its kind does not exist in the cluster."""


class OverQuota(RunError):
    """A quota of the namespace is used up."""


class NotStarted(RunError):
    """A container waits for its start."""


class Unreachable(RunError):
    """The cluster does not answer, or says that it can't just now."""


def one_line(text: str) -> str:
    """Returns a text with each run of spaces and line breaks as one space."""
    return " ".join(text.split())


@contextmanager
def translate_errors(what: str, host: str) -> Iterator[None]:
    """Turns what the client throws within the block into one of the errors above.

    Args:
        what: what is being done, such as `create jobs.batch train in namespace team`.
        host: URL of the API server.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _translate(error, what, host) from None
    except (HTTPError, OSError) as error:
        raise _unreachable(host, str(error)) from None


def _translate(error: ApiException, what: str, host: str) -> CxrflowError:
    """One answer of the API server to the error that a user meets; see `translate_errors`."""
    status = _status_of(error)
    said = one_line(str(status.get("message") or error.reason or error.status))
    if not error.status:  # the client's way to say that TLS failed
        return _unreachable(host, said)
    if error.status == 400 and "waiting to start" in said:
        return NotStarted(f"can't {what}: {said}")
    if error.status == 401:
        return NotAllowed(
            f"can't {what}: {host} refuses the credentials (401); log in again, on GKE with: gcloud auth login, "
            "then gcloud container clusters get-credentials CLUSTER"
        )
    if error.status == 403:
        return _forbidden(said, what)
    if error.status == 404:
        return _not_found(status, said, what)
    if error.status == 409 and status.get("reason") == "AlreadyExists":
        return NameInUse(f"can't {what}: the name is in use; take another one, or delete what has it")
    if error.status in TRY_AGAIN:
        return Unreachable(f"can't {what}: {host} answers {error.status}: {said}; try again")
    return UsageError(f"can't {what}: {said}")


def _status_of(error: ApiException) -> dict[str, Any]:
    """The Status object in an answer; empty where there is none (a path that the server does not know)."""
    try:
        content = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _forbidden(said: str, what: str) -> CxrflowError:
    quota = re.search(r"(exceeded|insufficient) quota.*", said)
    if quota:
        return OverQuota(f"can't {what}: {quota[0]}; wait for other jobs to end, ask for less, or raise the quota")
    denied = re.search(r'User "([^"]*)" cannot (\w+) resource "([^"]*)"', said)
    if denied:
        user, verb, resource = denied.groups()
        return NotAllowed(
            f"can't {what}: user {user} may not {verb} {resource}; ask for a Role with this verb "
            "(on GKE roles/container.developer has it)"
        )
    return NotAllowed(f"can't {what}: {said}")


def _not_found(status: dict[str, Any], said: str, what: str) -> CxrflowError:
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        name = details.get("name")
        return NotThere(f"can't {what}: there is no namespace {name}; make it: kubectl create namespace {name}")
    if not details.get("name"):
        how = f"; install JobSet, see {JOBSET_INSTALL}" if "jobsets" in what else ""
        return NotThere(f"can't {what}: the cluster does not know this kind of object{how}")
    return NotThere(f"can't {what}: {said}")


def _unreachable(host: str, why: str) -> Unreachable:
    errno = re.search(r"\[Errno -?\d+\] ([\w ]+)", why)
    late = "no answer in time" if "timed out" in why else None
    return Unreachable(
        f"the cluster at {host} does not answer: {errno[1] if errno else late or one_line(why)}; "
        "is it up, and is this the right --context?"
    )
