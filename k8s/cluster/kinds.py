"""The kinds of objects that a submission makes, and where each lives in the API."""

from __future__ import annotations

from dataclasses import dataclass

from beam_prep.console.errors import UsageError
from k8s.render.objects import Object


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        plural: its resource, such as `jobs`.
        group: `""` for the core group.
        version: of the group.
        singular: what the client calls it (core group only).
    """

    plural: str
    group: str = ""
    version: str = "v1"
    singular: str = ""

    @property
    def resource(self) -> str:
        """As kubectl and the access rules name it, such as `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


KINDS = {
    "JobSet": Kind("jobsets", "jobset.x-k8s.io", "v1alpha2"),
    "Job": Kind("jobs", "batch"),
    "Deployment": Kind("deployments", "apps"),
    "Service": Kind("services", singular="service"),
    "NetworkPolicy": Kind("networkpolicies", "networking.k8s.io"),
}
"""All that a submission makes, in the order in which it is deleted: first what runs."""

POD = Kind("pods", singular="pod")
EVENT = Kind("events", singular="event")
CLAIM = Kind("persistentvolumeclaims", singular="persistent_volume_claim")
SERVICE_ACCOUNT = Kind("serviceaccounts", singular="service_account")


def kind_of(obj: Object) -> Kind:
    """The kind of an object.

    Raises:
        UsageError: it is none that a submission makes.
    """
    try:
        return KINDS[obj["kind"]]
    except KeyError:
        raise UsageError(f"expected objects of kind {', '.join(KINDS)}; found {obj.get('kind')}") from None


def title(obj: Object) -> str:
    """An object for people, such as `Job train`."""
    return f"{obj['kind']} {obj['metadata']['name']}"
