"""Checks that the preflight tells of GPUs that no node has, and of GPUs that would idle."""

import pytest

from k8s.gpu_types import GKE_GPU, OPERATOR_GPU
from k8s.preflight.preflight import find_problems
from k8s.render.render import render
from k8s.spec import SweepSpec, TrainSpec
from trainer.config.train import TrainConfig
from tuning.config import SearchConfig

IMAGE = "r/trainer@sha256:" + "a" * 64
PLACES = {"data": "gs://b/dataset", "output": "gs://b/runs/t"}
H200 = {OPERATOR_GPU: "NVIDIA-H200", "nvidia.com/gpu.count": "8"}


def told(cluster, server, nodes, **spec):
    """Returns the problems of a training in a cluster with nodes, each a number of GPUs and its labels."""
    for number, (num_gpus, labels) in enumerate(nodes):
        amounts = {"cpu": "4", **({"nvidia.com/gpu": str(num_gpus)} if num_gpus else {})}
        server.objects.add(
            "nodes", {"metadata": {"name": f"n{number}", "labels": labels}, "status": {"allocatable": amounts}}
        )
    objects = render(TrainSpec(name="t", image=IMAGE, trainer=TrainConfig(**PLACES), **spec))
    return [f"{problem.severity}: {problem.text}" for problem in find_problems(objects, cluster)]


@pytest.mark.parametrize("labels", [H200, {GKE_GPU: "nvidia-h200-141gb"}])
def test_a_short_name_finds_its_nodes_in_any_cluster(server, cluster, labels):
    assert told(cluster, server, [(0, {}), (8, labels)], gpu_type="h200", num_gpus=8) == []


def test_a_cluster_without_an_autoscaler_is_told_how_to_see_its_gpus(server, cluster):
    (problem,) = told(cluster, server, [(0, {"a": "b"}), (8, H200)], gpu_type="h100", num_gpus=8)
    assert problem == (
        "warning: Job t: no node of the cluster has 8 x h100 now (its GPUs are: NVIDIA-H200); its pods wait until one "
        "has; see: kubectl get nodes --label-columns nvidia.com/gpu.product"
    )


def test_more_gpus_than_a_node_has(server, cluster):
    (problem,) = told(cluster, server, [(4, {GKE_GPU: "nvidia-l4"})], gpu_type="l4", num_gpus=8)
    assert "no node of the cluster has 8 x l4 now (the largest has 4); its pods wait until the autoscaler" in problem


@pytest.mark.parametrize(
    ("spec", "unused"),
    [
        ({"num_gpus": 2}, 6),
        ({"num_gpus": 4, "num_nodes": 2}, 0),
        ({"num_gpus": 8}, 0),
    ],
)
def test_fewer_gpus_than_every_node_has(server, cluster, spec, unused):
    problems = told(cluster, server, [(8, H200), (8, H200)], gpu_type="h200", **spec)
    assert len(problems) == (unused > 0)
    for problem in problems:
        assert problem == (
            f"warning: Job t: --num_gpus {spec['num_gpus']}, and every node with h200 has 8 or more: {unused} would "
            "idle if no other pod takes them"
        )


@pytest.mark.parametrize(("workers", "count"), [(2, 1), (8, 0)])
def test_the_workers_of_a_sweep_share_a_node(server, cluster, workers, count):
    server.objects.add(
        "nodes", {"metadata": {"name": "n", "labels": H200}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}}
    )
    tuner = SearchConfig(data=("gs://b/d",), output="gs://b/s")
    objects = render(SweepSpec(name="s", image=IMAGE, tuner=tuner, gpu_type="h200", num_workers=workers))
    assert len([each for each in find_problems(objects, cluster) if "would idle" in each.text]) == count
