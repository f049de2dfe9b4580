"""Checks that the preflight reports every problem before anything is sent, and reports nothing if all is well."""

import copy

import pytest

from beam_prep.config import PrepConfig
from k8s.preflight.preflight import find_problems
from k8s.render.render import render
from k8s.spec import PrepSpec, SweepSpec, TrainSpec
from trainer.config.train import TrainConfig
from tuning.config import SearchConfig

IMAGE = "r/trainer@sha256:" + "a" * 64
L4 = {"cloud.google.com/gke-accelerator": "nvidia-l4"}


def train(*, data="gs://b/dataset", output="gs://b/runs/t", flags=None, **spec):
    """Renders the objects of a training."""
    trainer = TrainConfig(data=data, output=output, **(flags or {}))
    return render(TrainSpec(name="t", image=IMAGE, trainer=trainer, **spec))


def told(objects, cluster=None):
    return [f"{problem.severity}: {problem.text}" for problem in find_problems(objects, cluster)]


def add_node(server, num_gpus, labels=L4):
    number = len(server.objects.list("nodes")[0])
    status = {"allocatable": {"cpu": "4", **({"nvidia.com/gpu": str(num_gpus)} if num_gpus else {})}}
    server.objects.add("nodes", {"metadata": {"name": f"node-{number}", "labels": labels}, "status": status})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "/tmp/run"}, "--output /tmp/run is on the volume tmp, deleted with the pod"),
        ({"output": "/runs/t"}, "--output /runs/t is in the container itself: results and checkpoints would be lost"),
        ({"data": "/data/set"}, "--data /data/set is not in the pod; take gs://BUCKET/PATH"),
        ({"flags": {"arch": "vgg19", "weights": "/home/me/vgg19.h5"}}, "--weights /home/me/vgg19.h5 is not in the pod"),
    ],
)
def test_what_is_not_in_the_pod_or_does_not_outlive_it(options, said):
    (problem,) = told(train(**options))
    assert problem.startswith(f"error: {said}")


@pytest.mark.parametrize("place", [{"pvc": ("claim:/work",)}, {"bucket": ("b:/work",)}])
def test_claims_and_buckets_outlive_a_pod(place):
    paths = {"data": "/work/dataset", "output": "/work/runs/t"}
    assert told(train(**paths, **place, flags={"arch": "vgg19", "weights": "/work/vgg19.h5"})) == []
    assert told(train(data="/work/dataset", output="/workshop/t", **place)), "a path that only begins alike"


def test_a_preparation_has_to_read_and_write_what_lasts(monkeypatch):
    objects = render(
        PrepSpec(name="p", image=IMAGE, prep=PrepConfig(input="/raw", output="/home/cxrflow/d", public_salt=True)), []
    )
    assert [problem.split(" ")[1] for problem in told(objects)] == ["--output", "--input"]


def sweep(output, flags=(), *, batch_size=("16", "24"), **spec):
    """Renders the objects of a sweep."""
    tuner = SearchConfig(data=("/work/dataset",), output=output, batch_size=batch_size)
    return render(SweepSpec(name="s", image=IMAGE, tuner=tuner, pvc=("claim:/work",), **spec), flags)


def test_a_sweep_is_looked_at_like_a_training():
    assert told(sweep("/work/sweep", ["--arch", "vgg19", "--weights", "/work/vgg19.h5"])) == []
    objects = sweep("/tmp/sweep", ["--arch", "vgg19", "--weights", "/vgg19.h5"], num_gpus=8)
    objects[-1]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "16"
    problems = told(objects)
    assert [problem.split(" is ")[0] for problem in problems[:2]] == [
        "error: --output /tmp/sweep",
        "error: --weights /vgg19.h5",
    ]
    assert problems[2:] == ["error: Job s-worker: --batch_size 24: the 16 GPUs of a worker do not divide it"]
    (problem,) = told(sweep("/bucket/sweep", bucket=("xrays:/bucket",), service_account="trainer"))
    assert problem.endswith("see each other's files too late; take --output gs://xrays/sweep")
    assert told(sweep("gs://xrays/sweep")) == []


def test_a_batch_that_the_gpus_of_all_nodes_do_not_divide():
    objects = train(num_gpus=4, num_nodes=2, flags={"batch_size": 16})
    assert told(objects) == []
    objects[-1]["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = 3
    (problem,) = told(objects)
    assert problem.startswith("error: JobSet t: 3 nodes of 4 GPUs: --batch_size is 16, which 12 replicas do not divide")


@pytest.mark.parametrize("flags", [{"num_replicas": 3}, {"strategy": "none"}])
def test_only_the_gpus_that_train_must_divide_the_batch(flags):
    assert told(train(num_gpus=4, flags={"batch_size": 18, **flags})) == []


def test_flags_that_the_trainer_would_refuse_are_refused_here():
    objects = train()
    objects[0]["spec"]["template"]["spec"]["containers"][0]["args"].append("--bogus")
    (problem,) = told(objects)
    assert "error: Job t: unknown option --bogus" in problem


def test_an_image_size_that_the_dataset_does_not_hold(dataset):
    """The preflight reads the dataset if this machine has it under the same path as the pod."""
    mount = {"pvc": (f"claim:{dataset.parent}",)}
    (problem,) = told(train(data=str(dataset), output=str(dataset.parent / "run"), **mount))
    assert "image size 90 px is not in the dataset, which holds 32, 96 px" in problem
    assert told(train(data=str(dataset), output=str(dataset.parent / "run"), flags={"image_size": 32}, **mount)) == []


@pytest.mark.parametrize(
    ("arch", "spec", "said"),
    [
        ("inception_resnet_v2", {"spot": True}, "up to 873 MB, about 17 s; a pod that is stopped has 15 s (spot)"),
        ("inception_resnet_v2", {"grace_seconds": 10}, "has 10 s; give --grace_seconds 35"),
        ("inception_resnet_v2", {}, None),
        ("vgg19", {"spot": True}, None),
    ],
)
def test_a_checkpoint_that_takes_longer_than_the_pod_has_is_a_warning(arch, spec, said):
    problems = told(train(flags={"arch": arch, "image_size": 224}, **spec))
    assert len(problems) == (said is not None)
    assert all(problem.startswith("warning: ") and said in problem for problem in problems)


def test_nothing_is_told_where_all_is_well(server, cluster):
    add_node(server, 4)
    server.objects.add("localqueues", {"metadata": {"name": "gpus"}})
    server.objects.add("serviceaccounts", {"metadata": {"name": "trainer"}})
    server.objects.add(
        "persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    )
    objects = train(
        num_gpus=4,
        num_nodes=2,
        gpu_type="nvidia-l4",
        queue="gpus",
        service_account="trainer",
        pvc=("claim:/work",),
        flags={"batch_size": 16},
    )
    assert told(objects, cluster) == []


def test_all_that_is_missing_in_the_cluster_is_told_at_once(server, cluster):
    del server.groups["jobset.x-k8s.io"]
    server.forbidden |= {("create", "networkpolicies"), ("get", "pods/log")}
    options = {"queue": "gpus", "service_account": "trainer", "pvc": ("claim:/work",), "flags": {"batch_size": 16}}
    problems = told(train(num_gpus=4, num_nodes=2, **options), cluster)
    assert [problem[:60] for problem in problems] == [
        f"{start:.60}"
        for start in (
            "error: you may not create networkpolicies.networking.k8s.io in namespace team",
            "error: several nodes train as a JobSet, which the cluster does not know (",
            "error: --queue gpus: there is no LocalQueue of that name in namespace team",
            "error: --pvc claim: there is no such claim in namespace team; see: kubectl",
            "error: --service_account trainer: there is no such account in namespace team",
            "warning: you may not get pods/log in namespace team: `logs` will fail",
            "warning: JobSet t: no node of the cluster has 4 x GPU now (its GPUs are: none)",
        )
    ]
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([], "no node of the cluster has 2 x nvidia-l4 now (its GPUs are: none); its pods wait until the autoscaler"),
        ([(8, {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"})], "its GPUs are: nvidia-tesla-t4"),
        ([(1, L4)], "the largest has 1"),
        ([(0, {}), (2, L4)], None),
    ],
)
def test_gpus_that_no_node_has_may_still_come(server, cluster, nodes, said):
    for node in nodes:
        add_node(server, *node)
    problems = told(train(num_gpus=2, gpu_type="nvidia-l4"), cluster)
    assert len(problems) == (said is not None)
    assert all(problem.startswith("warning: ") and said in problem for problem in problems)


def test_what_may_not_be_looked_at_is_a_warning_and_no_error(server, cluster):
    server.forbidden |= {("list", "nodes"), ("get", "namespaces"), ("get", "serviceaccounts"), ("get", "localqueues")}
    problems = told(train(queue="gpus", service_account="trainer"), cluster)
    assert len(problems) == 3
    assert all(problem.startswith("warning: ") for problem in problems)


def test_a_namespace_that_is_not_there_is_told_before_what_would_be_in_it(server, cluster):
    cluster.namespace = "tema"
    add_node(server, 1)
    (problem,) = told(train(queue="gpus"), cluster)
    assert problem.startswith("error: there is no namespace tema; create it: kubectl create namespace tema")


def test_a_cluster_without_kueue(server, cluster):
    add_node(server, 1)
    del server.groups["kueue.x-k8s.io"]
    (problem,) = told(train(queue="gpus"), cluster)
    assert problem.startswith("error: --queue gpus: the cluster has no Kueue; install it")


def test_a_claim_for_one_node_that_several_share(server, cluster):
    add_node(server, 1)
    server.objects.add(
        "persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    )
    (problem,) = told(train(num_nodes=2, pvc=("claim:/work",)), cluster)
    assert problem.startswith("warning: --pvc claim: 2 pods share it, but its access mode is ReadWriteOnce")
    assert told(train(pvc=("claim:/work",)), cluster) == []


def test_what_is_looked_at_is_not_changed():
    objects = train(num_nodes=2)
    before = copy.deepcopy(objects)
    find_problems(objects, None)
    assert objects == before


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("exceeded quota: pods, requested: pods=1, used: pods=4, limited: pods=4", "warning: Job t: its pods wait"),
        (
            'violates PodSecurity "restricted:latest"',
            "error: Job t: the cluster would refuse its pods: can't create pods",
        ),
    ],
)
def test_a_pod_is_checked_by_the_server_before_its_job_is_sent(server, cluster, refusal, said):
    add_node(server, 1)
    server.quotas["pods"] = refusal
    (problem,) = told(train(), cluster)
    assert problem.startswith(said)
    assert refusal.split(",")[0] in problem
