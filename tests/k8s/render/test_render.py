"""Checks how every flag changes the rendered objects."""

import json

import pytest
from submissions import DATAFLOW, GKE, IMAGE, PREP, SWEEP, TRAIN, VARIANTS, only, pod_templates, rendered

from beam_prep.console.command import Command
from beam_prep.console.command_line import changed_flags
from beam_prep.console.parsing import parse
from k8s.preflight.offline_checks import check_offline
from k8s.preflight.workload import workloads_of
from trainer.config.train import TrainConfig


def pod_of(objects, component="trainer"):
    (template,) = (
        each
        for each in pod_templates(objects)
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return template["spec"]


def container_of(objects, component="trainer"):
    (container,) = pod_of(objects, component)["containers"]
    return container


def test_a_training_is_one_job_with_all_its_gpus_in_one_pod():
    objects = rendered("train", *TRAIN, "--num_gpus", 8, "--batch_size", 64, "--cpu", "32", "--memory", "200Gi")
    (job,) = objects
    assert (job["kind"], job["metadata"]["name"], job["spec"]["backoffLimit"]) == ("Job", "chest", 3)
    amounts = {"cpu": "32", "memory": "200Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "8"}
    assert container_of(objects)["resources"] == {"requests": amounts, "limits": amounts}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container_of(objects)["volumeMounts"]
    assert "nodeSelector" not in pod_of(objects)
    assert "namespace" not in job["metadata"]


def test_without_gpus_nothing_asks_for_them():
    text = json.dumps(rendered("train", *TRAIN, "--num_gpus", 0))
    assert "nvidia" not in text
    assert "/dev/shm" not in text


def test_gke_finds_the_nodes():
    objects = rendered("train", *TRAIN, *GKE)
    pod = pod_of(objects)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "cloud.google.com/gke-spot": "true",
    }
    assert {each["key"] for each in pod["tolerations"]} == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    assert pod["serviceAccountName"] == "trainer"
    assert {obj["metadata"]["namespace"] for obj in objects} == {"xray"}


def test_how_a_job_ends():
    flags = ("--retries", 7, "--deadline_hours", 1.5, "--ttl_hours", 2, "--grace_seconds", 300)
    spec = only(rendered("train", *TRAIN, *flags), "Job")["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (7, 5400, 7200)
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 300
    evicted, stopped, wrong = spec["podFailurePolicy"]["rules"]
    assert (evicted["action"], evicted["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (stopped["action"], stopped["onExitCodes"]["values"]) == ("Ignore", [143])
    assert (wrong["action"], wrong["onExitCodes"]["values"]) == ("FailJob", [2])


@pytest.mark.parametrize("flags", [(), ("--num_nodes", 2), ("--tensorboard",)])
def test_no_program_is_process_1(flags):
    """Process 1 gets no SIGKILL from its own child, by which a worker ends that waits for others in vain."""
    for template in pod_templates(rendered("train", *TRAIN, *flags)):
        assert template["spec"]["shareProcessNamespace"] is True


def test_volumes_are_where_they_are_asked_for():
    objects = rendered("train", *TRAIN, "--bucket", "xrays:/bucket")
    places = {mount["name"]: mount["mountPath"] for mount in container_of(objects)["volumeMounts"]}
    volumes = {places[volume["name"]]: volume for volume in pod_of(objects)["volumes"]}
    assert volumes["/data"]["persistentVolumeClaim"] == {"claimName": "images"}
    assert volumes["/runs"]["persistentVolumeClaim"] == {"claimName": "results"}
    assert volumes["/bucket"]["csi"]["volumeAttributes"]["bucketName"] == "xrays"
    (template,) = pod_templates(objects)
    assert template["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}


def test_the_trainer_gets_the_flags_that_were_typed(tmp_path):
    given = ("--arch", "vgg19", "--no_augment", "--batch_size", 12, "--threshold_rule", "sensitivity=0.95")
    arguments = container_of(rendered("train", *TRAIN, *given))["args"]
    config, _ = parse(Command(TrainConfig, print), "test", arguments)
    assert config == TrainConfig(
        data="/data/set",
        output="/runs/a",
        arch="vgg19",
        augment=False,
        batch_size=12,
        threshold_rule="sensitivity=0.95",
    )
    assert changed_flags(config) == arguments


def test_a_file_of_flags_is_read_here_as_it_is_not_there(command, tmp_path):
    (tmp_path / "best.json").write_text(json.dumps({"arch": "vgg19", "epochs": 3, "augment": False}))
    flags = ("--name", "x", "--image", IMAGE, *TRAIN, "--config", tmp_path / "best.json", "--epochs", 4)
    result = command("k8s", "render", "train", *flags)
    assert result.returncode == 0, result.stderr
    body = result.stdout.partition("apiVersion")[2]
    assert str(tmp_path) not in body
    arguments = "--arch vgg19 --epochs 4 --no_augment"
    assert " ".join(line.strip("- '") for line in body.splitlines()).count(arguments.replace("--", "")) == 1


def test_a_preset_of_a_training_is_spelled_out_and_that_of_a_sweep_goes_to_the_tuner(command):
    place = ("--name", "x", "--image", IMAGE, "--preset", "best")
    result = command("k8s", "render", "train", *place, *TRAIN, "--epochs", 4)
    assert result.returncode == 0, result.stderr
    (_, _, body) = result.stdout.partition("apiVersion")
    assert "--schedule\n" in body
    assert "preset" not in body
    arguments = container_of(rendered("sweep", *SWEEP, "--preset", "best", "--epochs", 4), "worker")["args"]
    assert arguments[-4:] == ["--preset", "best", "--epochs", "4"]


def test_several_nodes_are_reached_by_each_other_only():
    for flags in ((), ("--no_jobset",)):
        objects = rendered("train", *TRAIN, "--num_nodes", 2, *flags)
        (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
        assert rule["from"] == [
            {"podSelector": {"matchLabels": only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]}}
        ]


def test_a_jobset_starts_all_again_and_an_indexed_job_one_by_one():
    (jobs,) = only(rendered("train", *TRAIN, "--num_nodes", 2), "JobSet")["spec"]["replicatedJobs"]
    assert jobs["template"]["spec"]["backoffLimit"] == 0
    indexed = only(rendered("train", *TRAIN, "--num_nodes", 2, "--no_jobset"), "Job")["spec"]
    assert (indexed["backoffLimitPerIndex"], indexed["maxFailedIndexes"]) == (3, 0)
    for spec in (jobs["template"]["spec"], indexed):
        assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)


def test_tensorboard_is_open_to_its_own_pod_only():
    objects = rendered("train", *TRAIN, "--tensorboard")
    arguments = container_of(objects, "tensorboard")["args"]
    assert arguments[arguments.index("--logdir") + 1] == "/runs/a/tensorboard"
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    assert {obj["kind"] for obj in objects} == {"Job", "Deployment"}
    assert "nvidia.com/gpu" not in container_of(objects, "tensorboard")["resources"]["limits"]


def test_only_the_workers_of_a_sweep_reach_its_chief():
    objects = rendered("sweep", *SWEEP, name="lungs")
    policy = only(objects, "NetworkPolicy")["spec"]
    port = only(objects, "Service")["spec"]["ports"][0]["port"]
    instance = {"app.kubernetes.io/instance": "lungs"}
    assert policy["podSelector"]["matchLabels"] == {**instance, "app.kubernetes.io/component": "chief"}
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {**instance, "app.kubernetes.io/component": "worker"}}}],
            "ports": [{"port": port, "protocol": "TCP"}],
        }
    ]


def test_chief_and_workers_may_take_the_token_of_the_sweep_from_a_secret():
    assert not any(_token_of(rendered("sweep", *SWEEP), component) for component in ("chief", "worker"))
    objects = rendered("sweep", *SWEEP, "--token_secret", "lungs-token")
    reference = {"secretKeyRef": {"name": "lungs-token", "key": "token"}}
    assert [_token_of(objects, component) for component in ("chief", "worker")] == [[{"valueFrom": reference}]] * 2


def _token_of(objects, component):
    variables = container_of(objects, component)["env"]
    return [{"valueFrom": each["valueFrom"]} for each in variables if each["name"] == "CXRFLOW_SWEEP_TOKEN"]


def test_a_chief_takes_a_gpu_only_to_train_the_best_at_the_end():
    chief = container_of(rendered("sweep", *SWEEP, "--spot"), "chief")
    assert "nvidia.com/gpu" not in chief["resources"]["limits"]
    assert "nodeSelector" not in pod_of(rendered("sweep", *SWEEP, "--spot"), "chief")
    chief = container_of(rendered("sweep", *SWEEP, "--retrain_best"), "chief")
    assert chief["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_chief_and_workers_search_for_the_same():
    objects = rendered("sweep", *SWEEP, "--max_trials", 9, "--image_size", 90, 224, "--arch", "vgg19")
    (chief, worker) = (container_of(objects, component)["args"] for component in ("chief", "worker"))
    assert chief[-2:] == worker[-2:] == ["--arch", "vgg19"]
    waiting = chief.index("--worker_timeout_s")
    assert chief[:waiting] + chief[waiting + 2 :] == worker, "but that the chief waits for nodes as well"


def test_a_preparation_runs_in_its_pod():
    objects = rendered("prep", *PREP, "--image_sizes", 90, 224, "--direct_num_workers", 2)
    container = container_of(objects, "prep")
    assert container["command"] == ["python", "-m", "beam_prep", "prepare"]
    assert container["args"][-2:] == ["--direct_num_workers", "2"]
    assert "nvidia" not in json.dumps(objects)


def test_the_salt_of_a_preparation_is_mounted_from_its_secret():
    objects = rendered(*VARIANTS["prep with a Secret"])
    args = container_of(objects, "prep")["args"]
    assert args[args.index("--salt_file") + 1] == "/etc/cxrflow/salt"
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(objects, "prep")["volumeMounts"]}
    (volume,) = (volume for volume in pod_of(objects, "prep")["volumes"] if volume["name"] == "salt")
    assert volume["secret"]["secretName"] == "site-salt"
    assert mounts["salt"] == "/etc/cxrflow"
    (workload,) = workloads_of(objects)
    assert not any("salt" in problem.text for problem in check_offline(workload))


@pytest.mark.parametrize("runner", ["DataflowRunner", "dataflowrunner"])
def test_dataflow_runs_our_image_under_our_name(runner):
    arguments = container_of(rendered("prep", *DATAFLOW, "--runner", runner), "prep")["args"]
    ours = ["--job_name", "chest", "--sdk_container_image", IMAGE, "--sdk_location", "container"]
    assert arguments[-6:] == ours
    given = ("--sdk_container_image=other", "--job_name", "own")
    arguments = container_of(rendered("prep", *DATAFLOW, *given), "prep")["args"]
    assert arguments[-5:] == [*given, "--sdk_location", "container"][-5:]


@pytest.mark.parametrize(
    ("places", "folder"),
    [
        (("--output", "gs://b/runs/t/"), "gs://b/runs/t-logs"),
        (("--output", "/bucket/t", "--bucket", "xrays:/bucket"), "/bucket/t-logs"),
        (("--output", "/bucket", "--bucket", "xrays:/bucket"), None),
        (("--output", "gs://b"), None),
    ],
)
def test_the_logs_of_all_pods_are_kept_beside_the_output_if_that_lasts(places, folder):
    inputs = {"train": ("--data", "gs://b/set"), "prep": ("--input", "gs://b/raw", "--public_salt")}
    for kind in ("train", "sweep", "prep"):
        workloads = workloads_of(rendered(kind, *inputs.get(kind, inputs["train"]), *places))
        assert {workload.variable("CXRFLOW_LOG_FOLDER") for workload in workloads} == {folder}
