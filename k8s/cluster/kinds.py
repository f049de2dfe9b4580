"""Defines the kinds of objects that a submission has, with their places in the API."""

from __future__ import annotations

from dataclasses import dataclass

from beam_prep.console.errors import UsageError
from k8s.render.objects import Object


@dataclass(frozen=True)
class Kind:
    """A kind of API object.

    Attributes:
        plural: the name of the resource, such as `jobs`.
        group: the API group; `""` is the core group.
        version: the version of the group.
        singular: the word for the kind in the names of the client's functions (core group only).
    """

    plural: str
    group: str = ""
    version: str = "v1"
    singular: str = ""

    @property
    def resource(self) -> str:
        """The resource as kubectl and the access rules name it, such as `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


KINDS = {
    "JobSet": Kind("jobsets", "jobset.x-k8s.io", "v1alpha2"),
    "Job": Kind("jobs", "batch"),
    "Deployment": Kind("deployments", "apps"),
    "Service": Kind("services", singular="service"),
    "NetworkPolicy": Kind("networkpolicies", "networking.k8s.io"),
}
"""The kinds of objects that a submission creates, in the order of their deletion: first those that run."""

POD = Kind("pods", singular="pod")
EVENT = Kind("events", singular="event")
CLAIM = Kind("persistentvolumeclaims", singular="persistent_volume_claim")
SECRET = Kind("secrets", singular="secret")
SERVICE_ACCOUNT = Kind("serviceaccounts", singular="service_account")


def kind_of(obj: Object) -> Kind:
    """Returns the kind of an object.

    Raises:
        UsageError: a submission has no objects of this kind.
    """
    if obj["kind"] == "Pod":
        return POD
    try:
        return KINDS[obj["kind"]]
    except KeyError:
        raise UsageError(f"expected objects of kind {', '.join(KINDS)}; found {obj.get('kind')}") from None


def title(obj: Object) -> str:
    """Returns the kind and the name of an object for a message, such as `Job train`."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def labels_of(obj: Object) -> dict[str, str]:
    """Returns the labels of an object."""
    return obj["metadata"].get("labels") or {}
