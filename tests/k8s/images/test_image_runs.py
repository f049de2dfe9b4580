"""Runs rendered pods in the images: prepare, train and search, with the rights and the volumes of a pod and no more."""

import json
import re
import socket

import pytest
import yaml
from build_images import DOCKER, STORE
from kubelet import finish
from submissions import only, pod_templates, rendered

from beam_prep.dataset.manifest import Manifest
from k8s.render.render import to_yaml

SIZE = ("--image_size", 32)
TRAINING = (*SIZE, "--batch_size", 12, "--epochs", 1, "--num_gpus", 0)
BOOT, POOL = "/opt/apache/beam/boot", "localhost:50000"
VOLUMES = ("--pvc", "data:/data", "runs:/runs")
PROBE = """
import os, sys
def writes(folder):
    try:
        with open(f"{folder}/written", "w"):
            return True
    except OSError:
        return False
print(os.getuid(), os.getgid(), *(folder for folder in sys.argv[1:] if writes(folder)))
"""


def printed(kind, *flags):
    """Returns the objects that a cluster would be given, read from their YAML."""
    return list(yaml.safe_load_all(to_yaml(rendered(kind, *flags))))


def pod(objects, name=None):
    return next(pod_templates(only(objects, "Job", name)))


@pytest.fixture(scope="module")
def training_pod():
    return pod(printed("train", "--data", "/data/set", "--output", "/runs/a", *VOLUMES, *TRAINING))


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_a_preparation_prepares(node, phantoms, prepared):
    flags = ("--input", "/in", "--output", "/data/set", "--image_sizes", 32, 48, "--public_salt")
    template = pod(printed("prep", *flags, "--pvc", "in:/in", "data:/data"))
    ((code, _, said),) = finish(node("prep", {"/in": phantoms, "/data": prepared}).start(template))
    assert code == 0, said
    assert Manifest.read(prepared / "set").image_sizes == (32, 48)


def test_a_training_trains(node, prepared, runs, training_pod):
    ((code, said, complained),) = finish(node("trainer", {"/data": prepared, "/runs": runs}).start(training_pod))
    assert code == 0, complained
    assert "report.html" in said
    assert "Read-only" not in complained
    assert (runs / "a" / "metrics.json").is_file()


def test_a_training_that_is_not_given_its_gpus_fails_in_one_line(node, prepared, runs):
    flags = ("--data", "/data/set", "--output", "/runs/a", *VOLUMES, *SIZE, "--epochs", 1)
    template = pod(printed("train", *flags))
    ((code, _, said),) = finish(node("trainer", {"/data": prepared, "/runs": runs}).start(template))
    assert code == 1
    assert said.splitlines()[-1].startswith("error: the pod was promised 1 GPU, and its node has no NVIDIA driver")


@pytest.mark.timeout(900)
def test_a_chief_and_a_worker_search_together(node, prepared, runs):
    flags = ("--data", "/data/set", "--output", "/runs/sweep", *VOLUMES, *SIZE, "--max_trials", 2, "--num_workers", 1)
    objects = printed("sweep", *flags, "--batch_size", 8, 12, "--epochs", 1, "--num_gpus", 0)
    place = node("trainer", {"/data": prepared, "/runs": runs}, (only(objects, "Service")["metadata"]["name"],))
    chief, worker = (
        place.start(pod(objects, f"chest-{name}"), index) for name, index in (("chief", None), ("worker", 0))
    )
    ended = finish(chief, worker, timeout=800)
    assert [code for code, *_ in ended] == [0, 0], ended
    trials = [json.loads(path.read_text()) for path in (runs / "sweep").glob("trials/*/trial.json")]
    assert [trial["state"] for trial in trials] == ["done"] * 2
    assert (runs / "sweep" / "best_config.json").is_file()


@pytest.mark.parametrize("image", ["trainer", "prep"])
def test_a_pod_writes_to_its_volumes_and_nowhere_else(node, prepared, runs, training_pod, image):
    places = ("/", "/opt/cxrflow", "/usr/local", "/etc", "/var/tmp", "/root", "/data", "/runs", "/tmp", "/home/cxrflow")
    command = ["python", "-c", PROBE, *places]
    place = node(image, {"/data": prepared, "/runs": runs})
    ((code, said, complained),) = finish(place.start(training_pod, command=command))
    assert code == 0, complained
    assert said.split() == ["10001", "10001", "/data", "/runs", "/tmp", "/home/cxrflow"]


@pytest.mark.parametrize("image", ["trainer", "prep"])
def test_an_image_has_no_compiler_and_no_files_of_its_build(images, image):
    root = images[image].root
    programs = {path.name for folder in ("usr/bin", "usr/local/bin") for path in (root / folder).glob("*")}
    assert not programs & {"cc", "gcc", "g++", "make", "ld", "as", "clang"}
    assert not list(root.glob("build")) + list(root.glob("root/.cache"))
    assert list(root.glob("opt/cxrflow/lib/python3.11/site-packages/beam_prep/images/_kernels*.so"))


@pytest.mark.parametrize(("image", "user", "starts"), [("trainer", "10001:10001", None), ("prep", None, [BOOT])])
def test_an_image_says_what_it_is(images, image, user, starts):
    config = images[image].config
    assert config["Labels"]["org.opencontainers.image.title"] == f"cxrflow {image}"
    assert config.get("User") == user
    assert config.get("Entrypoint") == starts


@pytest.mark.parametrize("image", ["trainer", "prep"])
def test_the_bill_of_an_image_names_its_packages_and_their_licences(images, image):
    components = json.loads((STORE / f"sbom-{image}.json").read_text())["components"]
    found = {f"{each['name'].lower().replace('_', '-')}=={each['version']}" for each in components}
    locked = re.findall(r"^(?!nvidia-)(\S+==\S+)", (DOCKER / f"{image}.lock").read_text(), flags=re.MULTILINE)
    assert set(locked) <= {name.replace(".", "-") if name not in locked else name for name in found}
    assert "cxrflow" in {each["name"] for each in components}
    assert sum("licenses" in each for each in components) > 0.9 * len(components)


def test_the_image_of_the_preparation_starts_beams_workers(node, phantoms, tmp_path):
    """A runner asks the boot program for a worker, as Dataflow and Flink do, and stages files for it."""
    (tmp_path / "data").mkdir()
    runner = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    flags = ("--input", "/in", "--output", "/data/set", "--image_sizes", 32, "--public_salt", *runner)
    template = pod(printed("prep", *flags, f"--environment_config={POOL}", "--pvc", "in:/in", "data:/data"))
    (container,) = template["spec"]["containers"]
    both = ["sh", "-c", f'{BOOT} --worker_pool & exec "$@"', "sh", *container["command"], *container["args"]]
    place = node("prep", {"/in": phantoms, "/data": tmp_path / "data"}, (socket.gethostname(),))
    ((code, _, said),) = finish(place.start(template, command=both), timeout=120)
    assert code == 0, said
    assert f"Starting worker with command ['{BOOT}', '--id=worker_0'" in said
    assert "Downloaded: /tmp/staged/" in said
    assert Manifest.read(tmp_path / "data" / "set").image_sizes == (32,)
