"""`cloudbuild.yaml` and `cloudlaunch.yaml` are what Cloud Build takes, and their steps do what they say.

Source: https://cloud.google.com/build/docs/build-config-file-schema and the message types of the API, v1.
"""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TEXTS = {name: (ROOT / f"{name}.yaml").read_text() for name in ("cloudbuild", "cloudlaunch")}
BUILDS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
BUILD = BUILDS["cloudbuild"]
STEPS = {step["id"]: step for build in BUILDS.values() for step in build["steps"]}
SCRIPTS = {name: step["script"] for name, step in STEPS.items() if "script" in step}

FIELDS = {
    *("artifacts", "availableSecrets", "dependencies", "gitConfig", "images", "logsBucket", "options", "queueTtl"),
    *("secrets", "serviceAccount", "source", "steps", "substitutions", "tags", "timeout"),
}
STEP_FIELDS = {
    *("allowExitCodes", "allowFailure", "args", "automapSubstitutions", "dir", "entrypoint", "env", "id", "name"),
    *("script", "secretEnv", "timeout", "volumes", "waitFor"),
}
OPTIONS = {
    *("automapSubstitutions", "defaultLogsBucketBehavior", "diskSizeGb", "dynamicSubstitutions", "env", "logging"),
    *("logStreamingOption", "machineType", "pool", "requestedVerifyOption", "secretEnv", "sourceProvenanceHash"),
    *("substitutionOption", "volumes"),
}
CHOICES = {
    "requestedVerifyOption": {"NOT_VERIFIED", "VERIFIED"},
    "logging": {"LEGACY", "GCS_ONLY", "CLOUD_LOGGING_ONLY", "NONE"},
    "machineType": {"E2_MEDIUM", "E2_HIGHCPU_8", "E2_HIGHCPU_32", "N1_HIGHCPU_8", "N1_HIGHCPU_32"},
}
BUILT_IN = {
    "PROJECT_ID",
    "PROJECT_NUMBER",
    "BUILD_ID",
    "LOCATION",
    "COMMIT_SHA",
    "SHORT_SHA",
    "REPO_NAME",
    "BRANCH_NAME",
}


def used(build):
    """The names of the substitutions where Cloud Build replaces them: in everything except scripts and comments."""
    steps = [{key: value for key, value in step.items() if key != "script"} for step in build["steps"]]
    text = yaml.safe_dump({**build, "steps": steps})
    return set(re.findall(r"(?<!\$)\$\{?([A-Z_][A-Z0-9_]*)", text))  # a `$$` stands for a `$`


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_fields_and_their_types_are_those_of_the_schema(build):
    assert build.keys() <= FIELDS
    assert build["options"].keys() <= OPTIONS
    for name, choices in CHOICES.items():
        assert build["options"].get(name) in (None, *choices)
    for step in build["steps"]:
        assert step.keys() <= STEP_FIELDS
        assert {"id", "name", "waitFor"} <= step.keys()
        assert not ("script" in step and {"args", "entrypoint"} & step.keys()), "a script goes without them"
        for name in ("args", "env", "waitFor"):
            assert all(isinstance(each, str) for each in step.get(name, [])), "not a number, not a truth value"
        assert all(re.fullmatch(r"[A-Z_]+=.*", each) for each in step.get("env", []))
    assert all(isinstance(value, str) for value in build["substitutions"].values())
    assert re.fullmatch(r"\d+s", build["timeout"])
    assert int(build["timeout"][:-1]) <= 24 * 3600
    assert re.fullmatch(r"\d+", build["options"].get("diskSizeGb", "100")), "an int64 is a text in JSON"


def test_a_step_waits_only_for_steps_before_it():
    assert len(STEPS) == sum(len(build["steps"]) for build in BUILDS.values()), "each id once"
    for build in BUILDS.values():
        before = {"-"}
        for step in build["steps"]:
            assert set(step["waitFor"]) <= before, step["id"]
            before.add(step["id"])


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_every_substitution_that_is_used_is_declared_and_the_other_way_round(build):
    declared = set(build["substitutions"])
    assert all(re.fullmatch(r"_[A-Z0-9_]{1,99}", name) for name in declared)
    assert used(build) - BUILT_IN == declared, "Cloud Build refuses a build with one that is not used"
    assert build["options"]["dynamicSubstitutions"], "some are made of others"


@pytest.mark.parametrize("build", BUILDS)
def test_every_substitution_is_explained_above_its_line(build):
    text = TEXTS[build]
    block = text[text.index("\nsubstitutions:") : text.index("\nsteps:")].splitlines()
    for name in BUILDS[build]["substitutions"]:
        (line,) = (number for number, text in enumerate(block) if text.strip().startswith(f"{name}:"))
        assert block[line - 1].strip().startswith("# "), name


def test_the_tests_are_those_of_every_other_caller():
    step = STEPS["test"]
    assert [step["entrypoint"], *step["args"]] == ["bash", ".ci/run"]
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert run.read_text().startswith("#!/usr/bin/env bash\n")
    targets = re.findall(r"^make ([a-z-]+)", run.read_text(), flags=re.MULTILINE)
    assert targets == ["lint", "test", "test-browser", "test-slow", "test-tfio", "test-extras", "docs"]


def test_nothing_is_pushed_that_did_not_pass_the_tests():
    assert set(STEPS["push"]["waitFor"]) == {"test", "build-trainer", "build-prep"}
    pushing = [name for name, script in SCRIPTS.items() if "docker push" in script]
    assert pushing == ["push"]


def test_what_runs_the_code_of_others_may_launch_nothing():
    """The account of a build can do all that any of its steps needs."""
    launching = {name for name, script in SCRIPTS.items() if "prepare" in script or "submit train" in script}
    assert launching == {"launch-prep", "submit-train"}
    for other in ("test", "build-trainer", "build-prep", "push"):
        assert STEPS[other] in BUILD["steps"]
    assert not any(STEPS[name] in BUILD["steps"] for name in (*launching, "get-credentials"))


def test_both_images_are_built_with_a_cache_and_get_provenance():
    assert BUILD["options"]["requestedVerifyOption"] == "VERIFIED"
    for image in ("trainer", "prep"):
        tag = f"${{_REGISTRY}}/{image}:$BUILD_ID"
        arguments = STEPS[f"build-{image}"]["args"]
        assert f"--tag={tag}" in arguments
        assert f"--cache-from=${{_REGISTRY}}/{image}:latest" in arguments
        assert "--build-arg=BUILDKIT_INLINE_CACHE=1" in arguments, "or there is nothing to take from the last one"
        assert "DOCKER_BUILDKIT=1" in STEPS[f"build-{image}"]["env"]
        assert tag in BUILD["images"], "provenance is made for these only"
        (file,) = (part.partition("=")[2] for part in arguments if part.startswith("--file="))
        assert (ROOT / file).is_file()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash_that_stops_at_the_first_error(name):
    script = SCRIPTS[name]
    assert script.startswith("#!/usr/bin/env bash\nset -euo pipefail")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert not re.search(r"\$\{?_[A-Z]", script), "substitutions are not put into scripts"


def run_script(name, tmp_path, programs, **env):
    """Runs a step's script, with some programs in the place of those that need Google or Docker."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for program, text in programs.items():
        (folder / program).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / program).chmod(0o755)
    return subprocess.run(
        ["bash", "-c", SCRIPTS[name].replace("/workspace", str(tmp_path))],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["launch-prep", "install-submit", "get-credentials", "submit-train"])
def test_without_flags_nothing_is_launched(name, tmp_path):
    nothing = dict.fromkeys(("python", "pip", "gcloud"), "exit 1")
    result = run_script(name, tmp_path, nothing, PREP_FLAGS="", TRAIN_FLAGS="", CLUSTER="", LOCATION="r", PROJECT="p")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "kubeconfig").exists()


def test_images_are_named_by_their_digests(tmp_path):
    docker = 'if [ "$1" = inspect ]; then echo "${@: -1}" | sed "s/:build/@sha256:0123/"; fi'
    result = run_script("push", tmp_path, {"docker": docker}, REGISTRY="r", BUILD="build")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "trainer.image").read_text() == "r/trainer@sha256:0123\n"
    assert (tmp_path / "prep.image").read_text() == "r/prep@sha256:0123\n"
    assert run_script("push", tmp_path, {"docker": "true"}, REGISTRY="r", BUILD="b").returncode != 0, "no digest"
    (tmp_path / "trainer.image").unlink()
    gcloud = 'echo "$5" | sed "s/:latest/@sha256:4567/"'
    result = run_script("find-images", tmp_path, {"gcloud": gcloud}, REGISTRY="r", TAG="latest")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "trainer.image").read_text() == "r/trainer@sha256:4567\n"
    assert run_script("find-images", tmp_path, {"gcloud": "true"}, REGISTRY="r", TAG="b").returncode != 0, "no digest"


def test_a_preparation_is_launched_with_the_image_that_was_built(tmp_path):
    (tmp_path / "prep.image").write_text("r/prep@sha256:01\n")
    result = run_script("launch-prep", tmp_path, {"python": 'printf "%s\\n" "$@"'}, PREP_FLAGS="--input gs://b/* --x 1")
    assert result.stdout.split("\n")[2:8] == ["prepare", "--input", "gs://b/*", "--x", "1", "--sdk_container_image"]
    assert result.stdout.split("\n")[8] == "r/prep@sha256:01"


def test_a_training_is_submitted_to_the_cluster_with_the_image_that_was_built(tmp_path, monkeypatch):
    answers = 'case "$*" in *"value(endpoint)"*) echo 10.1.2.3;; *Certificate*) echo Zm9v;; *token*) echo secret;; esac'
    flags = "--name t --data gs://b/d --output gs://b/r --dry_run"
    place = {"TRAIN_FLAGS": flags, "CLUSTER": "c", "LOCATION": "r", "PROJECT": "p"}
    result = run_script("get-credentials", tmp_path, {"gcloud": answers}, **place)
    assert result.returncode == 0, result.stderr
    assert "secret" not in result.stdout + result.stderr
    config = tmp_path / "kubeconfig"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    monkeypatch.setenv("KUBECONFIG", str(config))
    from k8s.cluster.kubeconfig import connect

    assert connect().host == "https://10.1.2.3"

    image = "r/trainer@sha256:" + "a" * 64
    (tmp_path / "trainer.image").write_text(image + "\n")
    (tmp_path / "submit" / "bin").mkdir(parents=True)
    python = tmp_path / "submit" / "bin" / "python"
    python.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    result = run_script("submit-train", tmp_path, {"pip": "exit 1"}, TRAIN_FLAGS=flags)
    assert result.returncode == 0, result.stderr
    (job,) = yaml.safe_load_all(result.stdout)
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_nothing_is_installed_beside_the_token():
    holders = ("get-credentials", "submit-train")
    assert "install-submit" in STEPS["get-credentials"]["waitFor"]
    for name, script in SCRIPTS.items():
        assert name == "install-submit" or not re.search(r"\bpip\b", script)
        assert name in holders or "kubeconfig" not in script
    installs = [line for line in SCRIPTS["install-submit"].splitlines() if " install " in line]
    assert installs == [
        "pip install --require-hashes --requirement docker/submit.lock",
        "pip install --no-deps --no-build-isolation .",
    ]


def test_a_training_without_a_cluster_is_refused(tmp_path):
    place = {"TRAIN_FLAGS": "--name t", "CLUSTER": "", "LOCATION": "r", "PROJECT": "p"}
    result = run_script("get-credentials", tmp_path, {"gcloud": "exit 1"}, **place)
    assert (result.returncode, result.stderr) == (2, "_TRAIN_FLAGS needs _CLUSTER, the name of a GKE cluster\n")
