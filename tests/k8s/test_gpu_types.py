"""Checks that `--gpu_type` finds the nodes of GKE and of NVIDIA's GPU operator by their own labels."""

import pytest

from beam_prep.console.errors import UsageError
from k8s.gpu_types import GKE_GPU, NODE_LABELS, OPERATOR_GPU, fits, gpu_type_of, is_gpu_type, node_choice
from k8s.spec import TrainSpec
from trainer.config.train import TrainConfig


def spec(**flags):
    trainer = TrainConfig(data="gs://b/d", output="gs://b/r")
    return TrainSpec(name="t", image="i", allow_tag=True, trainer=trainer, **flags)


@pytest.mark.parametrize(
    ("gpu_type", "labels", "others"),
    [
        ("l4", [{GKE_GPU: "nvidia-l4"}, {OPERATOR_GPU: "NVIDIA-L4"}], [{OPERATOR_GPU: "NVIDIA-L40S"}, {}]),
        ("h100", [{GKE_GPU: "nvidia-h100-mega-80gb"}, {OPERATOR_GPU: "NVIDIA-H100-NVL"}], [{GKE_GPU: "nvidia-l4"}]),
        ("b200", [{GKE_GPU: "nvidia-b200"}, {OPERATOR_GPU: "NVIDIA-B200"}], [{OPERATOR_GPU: "NVIDIA-GB200"}]),
        ("nvidia-a100-80gb", [{GKE_GPU: "nvidia-a100-80gb"}], [{OPERATOR_GPU: "NVIDIA-A100-SXM4-80GB"}]),
        ("Tesla-T4", [{OPERATOR_GPU: "Tesla-T4"}], [{GKE_GPU: "nvidia-tesla-t4"}]),
    ],
)
def test_a_name_finds_its_nodes_and_no_others(gpu_type, labels, others):
    assert spec(gpu_type=gpu_type).gpu_type == gpu_type
    pod = node_choice(gpu_type)
    assert gpu_type_of(pod) == gpu_type
    assert all(fits(pod, {**each, "kubernetes.io/os": "linux"}) for each in labels)
    assert not any(fits(pod, each) for each in others)


def test_a_pod_without_a_type_fits_every_node_that_its_other_labels_allow():
    assert fits({}, {})
    assert not fits({"nodeSelector": {"spot": "true"}}, {GKE_GPU: "nvidia-l4"})
    assert not fits({**node_choice("l4"), "nodeSelector": {"spot": "true"}}, {GKE_GPU: "nvidia-l4"})


def test_the_names_behind_a_short_name_may_be_given_themselves():
    for labels in NODE_LABELS.values():
        for label, names in labels.items():
            assert all(is_gpu_type(name) and node_choice(name) == {"nodeSelector": {label: name}} for name in names)


@pytest.mark.parametrize("gpu_type", ["h1000", "nvidia", "L4 ", "NVIDIA L4", "-L4", "nvidia-l4-", ""])
def test_a_name_that_no_label_can_be_is_refused(gpu_type):
    with pytest.raises(UsageError, match=r"--gpu_type .*: expected l4, a100, h100, h200, b200, a name of GKE such as"):
        spec(gpu_type=gpu_type)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"gpu_type": "l4", "num_gpus": 0}, "--gpu_type is for GPUs, and --num_gpus is 0"),
        ({"flex_start": True, "num_gpus": 0}, "--flex_start is for GPUs, and --num_gpus is 0"),
        ({"flex_start": True, "spot": True}, "--flex_start and --spot are different nodes"),
        ({"flex_start": True, "deadline_hours": 200.0}, "--deadline_hours is 200; nodes of --flex_start stay 168 h"),
    ],
)
def test_flags_of_nodes_that_contradict_each_other_are_refused(flags, said):
    with pytest.raises(UsageError, match=said):
        spec(**flags)
