"""Checks on which nodes the rendered pods with GPUs run, and what they are told of them."""

import json

import pytest
from submissions import SWEEP, TRAIN, only, pod_templates, rendered

from beam_prep.console.errors import UsageError
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


def replicas_of(*flags):
    """Returns the `--num_replicas` of a sweep's chief and worker."""
    commands = [pods(rendered("sweep", *SWEEP, *flags))[each]["containers"][0]["args"] for each in ("chief", "worker")]
    return [words[words.index("--num_replicas") + 1] if "--num_replicas" in words else None for words in commands]


@pytest.mark.parametrize(
    ("flags", "replicas"),
    [
        (("--num_gpus", 2), None),
        (("--num_gpus", 8), None),
        (("--num_gpus", 3), "3"),
        (("--num_gpus", 6), "6"),
        (("--num_gpus", 16, "--mixup_alpha", 0.2), "16"),
        (("--num_gpus", 3, "--batch_size", 24, 48), None),
        (("--num_gpus", 3, "--num_replicas", 2), "2"),
        (("--num_gpus", 3, "--strategy", "none"), None),
    ],
)
def test_chief_and_workers_know_the_gpus_that_the_default_batches_do_not_suit(flags, replicas):
    """The chief, which has no GPU, raises the batches; see `test_sweep_job.py`."""
    assert replicas_of(*flags) == [replicas] * 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--num_gpus", 3, "--batch_size", 24, 32), "--batch_size is 32, which 3 replicas do not divide; try 33"),
        (("--num_gpus", 6, "--batch_size", 4), "--batch_size is 4, less than the 6 replicas"),
        (("--num_gpus", 2, "--num_replicas", 3), "--num_replicas is 3, more than the 2 of --num_gpus"),
    ],
)
def test_a_batch_of_a_sweep_that_does_not_suit_its_gpus_is_refused(flags, said):
    with pytest.raises(UsageError, match=said):
        rendered("sweep", *SWEEP, *flags)


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
