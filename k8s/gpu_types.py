"""Defines the GPUs that `--gpu_type` names, and how the labels of nodes tell them. Standard library only.

GKE labels its nodes with names of its own, NVIDIA's GPU operator (its feature discovery) those of any other cluster
with the product name that the driver tells. A short name stands for the labels of both.

Source: https://cloud.google.com/kubernetes-engine/docs/concepts/gpus and
https://docs.nvidia.com/datacenter/cloud-native/gpu-operator/latest/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GKE_GPU = "cloud.google.com/gke-accelerator"
"""The label of GKE's nodes that names their GPUs."""
OPERATOR_GPU = "nvidia.com/gpu.product"
"""The label of nodes by which NVIDIA's GPU operator names their GPUs."""

NODE_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "l4": {GKE_GPU: ("nvidia-l4",), OPERATOR_GPU: ("NVIDIA-L4",)},
    "a100": {
        GKE_GPU: ("nvidia-tesla-a100", "nvidia-a100-80gb"),
        OPERATOR_GPU: (
            *("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-SXM4-80GB"),
            *("NVIDIA-A100-PCIE-40GB", "NVIDIA-A100-80GB-PCIe"),
        ),
    },
    "h100": {
        GKE_GPU: ("nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
        OPERATOR_GPU: ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
    },
    "h200": {GKE_GPU: ("nvidia-h200-141gb",), OPERATOR_GPU: ("NVIDIA-H200", "NVIDIA-H200-NVL")},
    "b200": {GKE_GPU: ("nvidia-b200",), OPERATOR_GPU: ("NVIDIA-B200",)},
}
"""The labels, and the values of each, that nodes with a GPU have, by the short name of the GPU."""

GKE_NAME = re.compile(r"nvidia-[-a-z0-9]*[a-z0-9]")
OPERATOR_NAME = re.compile(r"(?=.*[A-Z])[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
"""A product name of NVIDIA, which has capital letters: NVIDIA-H100-80GB-HBM3, Tesla-T4."""


def is_gpu_type(name: str) -> bool:
    """Returns True if a name is a short one of `NODE_LABELS`, one of GKE or one of NVIDIA's GPU operator."""
    return name in NODE_LABELS or bool(GKE_NAME.fullmatch(name) or OPERATOR_NAME.fullmatch(name))


def node_choice(gpu_type: str) -> dict[str, Any]:
    """Returns the fields of a pod's spec that put it on nodes with a GPU: a node selector, or an affinity.

    A node fits an affinity if it fits one of its terms, so that one manifest serves GKE and other clusters.
    """
    if gpu_type not in NODE_LABELS:
        return {"nodeSelector": {GKE_GPU if GKE_NAME.fullmatch(gpu_type) else OPERATOR_GPU: gpu_type}}
    terms = [
        {"matchExpressions": [{"key": label, "operator": "In", "values": list(values)}]}
        for label, values in NODE_LABELS[gpu_type].items()
    ]
    needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": needed}}


def gpu_type_of(pod: Mapping[str, Any]) -> str | None:
    """Returns the GPU that a pod's spec asks for, as `--gpu_type` named it; None if any GPU will do."""
    selector = pod.get("nodeSelector") or {}
    for name in NODE_LABELS:
        if pod.get("affinity") == node_choice(name)["affinity"]:
            return name
    return selector.get(GKE_GPU) or selector.get(OPERATOR_GPU)


def fits(pod: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Returns True if the node selector and the GPU of a pod's spec allow a node with these labels."""
    selector = pod.get("nodeSelector") or {}
    accepted = NODE_LABELS.get(gpu_type_of(pod) or "")
    has_gpu = accepted is None or any(labels.get(label) in values for label, values in accepted.items())
    return has_gpu and selector.items() <= labels.items()


def gpu_types_in(labels: Mapping[str, str]) -> list[str]:
    """Returns the names that the labels of a node give its GPUs; none if it has no GPU, or nothing labels it."""
    return [labels[label] for label in (GKE_GPU, OPERATOR_GPU) if label in labels]
