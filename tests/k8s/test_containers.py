"""Runs the command lines of rendered pods for real, by a small kubelet."""

import json

import pytest
import yaml
from kubelet import Node, can_restrict, environment, expand, finish
from ports import free_port
from submissions import only, pod_templates, rendered

from beam_prep.dataset.manifest import Manifest
from k8s.render.render import to_yaml
from trainer.config.tf_config import find_cluster

SMALL = ("--image_size", 32, "--batch_size", 12, "--epochs", 1, "--num_gpus", 0)
VOLUMES = ("--pvc", "images:/data", "results:/runs")


def printed(kind: str, *flags: object) -> list[dict]:
    """Returns the objects that a cluster would be given, read from their YAML."""
    return list(yaml.safe_load_all(to_yaml(rendered(kind, *flags))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(INDEX)", "1"),
        ("a-$(INDEX)-$(LATER)", "a-1-$(LATER)"),
        ("$$(INDEX)", "$(INDEX)"),
        ("$$$$", "$$"),
        ("$INDEX $", "$INDEX $"),
        ("$(INDEX", "$(INDEX"),
    ],
)
def test_variables_are_put_in_as_kubernetes_documents_it(text, expected):
    assert expand(text, {"INDEX": "1"}) == expected


@pytest.mark.parametrize("flags", [(), ("--no_jobset",)])
def test_every_worker_has_a_tf_config_that_the_trainer_takes(flags, monkeypatch):
    objects = printed("train", "--data", "/data", "--output", "/runs/a", "--num_nodes", 3, *flags)
    (template,) = pod_templates(objects)
    (container,) = template["spec"]["containers"]
    clusters = []
    for index in range(3):
        variables = environment(container, {"batch.kubernetes.io/job-completion-index": str(index)})
        monkeypatch.setenv("TF_CONFIG", variables["TF_CONFIG"])
        clusters.append(find_cluster("auto"))
    assert [cluster.index for cluster in clusters] == [0, 1, 2]
    assert len({cluster.workers for cluster in clusters}) == 1
    if flags:  # Kubernetes names the pods of an Indexed Job JOB-INDEX, in the domain of their Service
        service = only(objects, "Service")["metadata"]["name"]
        hosts = [f"chest-{index}.{service}:2222" for index in range(3)]
        assert template["spec"]["subdomain"] == service
    else:  # JobSet names its pods JOBSET-REPLICATEDJOB-JOB-INDEX.SUBDOMAIN
        hosts = [f"chest-worker-0-{index}.chest:2222" for index in range(3)]
    assert clusters[0].workers == tuple(hosts)


def test_a_flag_with_a_dollar_reaches_the_program_as_it_was_typed():
    pattern = r"^(\w+)_$(HOME)$$"
    objects = printed("prep", "--input", "/data/a", "--output", "/data/b", "--group_regex", pattern, "--public_salt")
    (template,) = pod_templates(objects)
    (container,) = template["spec"]["containers"]
    arguments = [expand(each, environment(container, {})) for each in container["args"]]
    assert arguments[arguments.index("--group_regex") + 1] == pattern


@pytest.mark.slow
def test_a_training_trains(dataset, tmp_path):
    (template,) = pod_templates(printed("train", "--data", "/data", "--output", "/runs/a", *VOLUMES, *SMALL))
    (tmp_path / "runs").mkdir()
    node = Node(tmp_path, {"/data": dataset, "/runs": tmp_path / "runs"})
    ((code, said, complained),) = finish(node.start(template))
    assert code == 0, complained
    assert "report.html" in said
    assert (tmp_path / "runs" / "a" / "metrics.json").exists()


def test_a_wrong_flag_ends_with_the_code_that_ends_the_job(dataset, tmp_path):
    objects = printed("train", "--data", "/data", "--output", "/runs/a", *VOLUMES, "--image_size", 64)
    (template,) = pod_templates(objects)
    (tmp_path / "runs").mkdir()
    ((code, _, complained),) = finish(Node(tmp_path, {"/data": dataset, "/runs": tmp_path / "runs"}).start(template))
    rules = only(objects, "Job")["spec"]["podFailurePolicy"]["rules"]
    (ending,) = (rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob")
    assert ending == [code], complained


def test_a_preparation_prepares(phantoms, tmp_path):
    flags = (
        "--input",
        "/in",
        "--output",
        "/out/set",
        "--pvc",
        "in:/in",
        "out:/out",
        "--image_sizes",
        32,
        48,
        "--public_salt",
    )
    (template,) = pod_templates(printed("prep", *flags))
    (tmp_path / "out").mkdir()
    ((code, said, complained),) = finish(Node(tmp_path, {"/in": phantoms, "/out": tmp_path / "out"}).start(template))
    assert code == 0, complained
    assert Manifest.read(tmp_path / "out" / "set").image_sizes == (32, 48)
    (kept,) = (tmp_path / "out" / "set-logs").iterdir()
    assert sorted(kept.read_text().splitlines()) == sorted((said + complained).splitlines())


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="JobSet", marks=pytest.mark.slow),
        pytest.param(("--no_jobset",), id="Indexed Job", marks=pytest.mark.slow),
    ],
)
def test_two_workers_find_each_other_and_train_as_one(dataset, tmp_path, flags):
    asked = ("--data", "/data", "--output", "/runs/a", *VOLUMES, *SMALL, "--num_nodes", 2, *flags)
    (template,) = pod_templates(printed("train", *asked))
    (tmp_path / "runs").mkdir()
    node = Node(tmp_path, {"/data": dataset, "/runs": tmp_path / "runs"})
    (first, second) = finish(node.start(template, 0), node.start(template, 1))
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert json.loads((tmp_path / "runs" / "a" / "model.json").read_text())["num_replicas"] == 2
    assert "report.html" in first[1]
    assert second[1] == "", "only the first writes and prints"


@pytest.mark.skipif(not can_restrict(), reason="this machine gives a test no read-only root file system of its own")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "prep"])
def test_a_read_only_root_without_capabilities_is_enough(dataset, phantoms, tmp_path, kind):
    (tmp_path / "out").mkdir()
    flags = {
        "train": ("--data", "/in", "--output", "/out/a", *SMALL),
        "prep": ("--input", "/in", "--output", "/out/a", "--public_salt"),
    }
    (template,) = pod_templates(printed(kind, *flags[kind], "--pvc", "in:/in", "out:/out"))
    source = {"train": dataset, "prep": phantoms}[kind]
    node = Node(tmp_path, {"/in": source, "/out": tmp_path / "out"})
    ((code, _, complained),) = finish(node.start(template, restricted=True))
    assert code == 0, complained
    assert "Read-only" not in complained
    assert (tmp_path / "out" / "a" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_chief_and_two_workers_search_together(dataset, tmp_path):
    asked = ("--data", "/data", "--output", "/runs/sweep", *VOLUMES, "--max_trials", 3, "--image_size", 32)
    training = ("--batch_size", 8, 12, 16, "--epochs", 1, "--num_gpus", 0)
    objects = printed("sweep", *asked, *training)
    chief, worker = (next(pod_templates(only(objects, "Job", f"chest-{name}"))) for name in ("chief", "worker"))
    service = only(objects, "Service")["metadata"]["name"]
    port = str(only(objects, "Service")["spec"]["ports"][0]["port"])
    (tmp_path / "runs").mkdir()
    names = {"0.0.0.0": "localhost", service: "localhost", port: str(free_port())}
    node = Node(tmp_path, {"/data": dataset, "/runs": tmp_path / "runs"}, names)
    ended = finish(node.start(chief), node.start(worker, 0), node.start(worker, 1), timeout=600)
    assert [code for code, *_ in ended] == [0, 0, 0], ended
    trials = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "sweep").glob("trials/*/trial.json")]
    assert [trial["state"] for trial in trials] == ["done"] * 3
    assert {trial["worker"] for trial in trials} == {"worker-0", "worker-1"}
    assert (tmp_path / "runs" / "sweep" / "best_config.json").exists()
