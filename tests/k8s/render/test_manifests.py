"""Checks that the command in the first line of each manifest prints it, and that kubectl takes the folders."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from crd_shapes import KUSTOMIZATION

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "k8s" / "manifests"
FOLDERS = sorted(path.name for path in MANIFESTS.iterdir())


def command_of(manifest: Path) -> list[str]:
    """Returns the command in the first line of a manifest."""
    first = manifest.read_text().splitlines()[0]
    assert first.startswith("# python -m k8s render ")
    return shlex.split(first[2:])


def test_there_is_one_of_each_kind():
    assert {"train", "train-multi", "sweep", "prep", "prep-dataflow"} <= set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_manifest_is_what_its_command_prints(folder):
    manifest = MANIFESTS / folder / "manifest.yaml"
    command = command_of(manifest)
    result = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    renew = f"{shlex.join(command)} > {manifest.relative_to(ROOT)}"
    assert result.stdout == manifest.read_text(), f"if the change is meant, renew it: {renew}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_a_kustomization(folder):
    kustomization = yaml.safe_load((MANIFESTS / folder / "kustomization.yaml").read_text())
    jsonschema.validate(kustomization, KUSTOMIZATION)
    assert kustomization["resources"] == ["manifest.yaml"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubectl_builds_the_same_objects(folder):
    result = subprocess.run(
        ["kubectl", "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    ours = list(yaml.safe_load_all((MANIFESTS / folder / "manifest.yaml").read_text()))
    built = list(yaml.safe_load_all(result.stdout))

    def place(obj):
        return obj["kind"], obj["metadata"]["name"]

    assert sorted(built, key=place) == sorted(ours, key=place)
