"""Checks on which nodes the rendered pods with GPUs run, and what they are told of them."""

import json

import pytest
from submissions import SWEEP, TRAIN, only, pod_templates, rendered

from k8s.gpu_types import gpu_type_of

QUEUED = ("--flex_start", "--queue", "gpus", "--deadline_hours", 2)


def pods(objects):
    """Returns the specs of all pods by their component."""
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"] for each in pod_templates(objects)}


def promised(pod):
    """Returns the number of GPUs that the environment of a pod's container tells; None if it tells none."""
    return {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}.get("CXRFLOW_NUM_GPUS")


@pytest.mark.parametrize("gpu_type", ["l4", "a100", "h100", "h200", "b200", "nvidia-l4", "NVIDIA-H100-PCIe"])
def test_one_flag_puts_a_pod_on_nodes_of_gke_and_of_other_clusters(gpu_type):
    pod = pods(rendered("train", *TRAIN, "--gpu_type", gpu_type))["trainer"]
    assert gpu_type_of(pod) == gpu_type
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_short_name_goes_with_spot_nodes():
    pod = pods(rendered("train", *TRAIN, "--gpu_type", "h100", "--spot"))["trainer"]
    assert gpu_type_of(pod) == "h100"
    assert pod["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}


def test_pods_are_told_how_many_gpus_they_were_promised():
    assert promised(pods(rendered("train", *TRAIN, "--num_gpus", 4))["trainer"]) == "4"
    assert promised(pods(rendered("train", *TRAIN, "--num_gpus", 0, "--tensorboard"))["trainer"]) is None
    sweep = pods(rendered("sweep", *SWEEP, "--num_gpus", 2))
    assert (promised(sweep["worker"]), promised(sweep["chief"])) == ("2", None)
    sweep = pods(rendered("sweep", *SWEEP, "--retrain_best"))
    assert promised(sweep["chief"]) == "1"
    assert promised(pods(rendered("train", *TRAIN, "--tensorboard"))["tensorboard"]) is None


def test_flex_start_waits_for_its_nodes():
    (job,) = objects = rendered("train", *TRAIN, "--gpu_type", "nvidia-h200-141gb", "--flex_start")
    pod = pods(objects)["trainer"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-h200-141gb",
        "cloud.google.com/gke-flex-start": "true",
    }
    keys = {"nvidia.com/gpu", "cloud.google.com/gke-flex-start", "cloud.google.com/gke-queued"}
    assert {each["key"] for each in pod["tolerations"]} == keys
    assert "annotations" not in job["metadata"], "without a queue, GKE's autoscaler adds the node"


@pytest.mark.parametrize(("nodes", "kind"), [(1, "Job"), (2, "JobSet")])
def test_kueue_asks_for_flex_start_nodes_for_the_time_of_the_deadline(nodes, kind):
    job = only(rendered("train", *TRAIN, *QUEUED, "--num_nodes", nodes), kind)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job["metadata"]["annotations"] == {"provreq.kueue.x-k8s.io/maxRunDurationSeconds": "7200"}


def test_the_chief_of_a_sweep_on_flex_start_nodes_runs_elsewhere():
    sweep = pods(rendered("sweep", *SWEEP, *QUEUED))
    assert "cloud.google.com/gke-flex-start" in sweep["worker"]["nodeSelector"]
    assert "flex" not in json.dumps(sweep["chief"])
