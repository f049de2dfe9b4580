"""The one command: all commands of the packages by one word, and packages of others are refused."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from rooms import ROOT

import beam_prep.cli
import cxrflow
import trainer.cli
import tuning.cli

TABLES = [beam_prep.cli.COMMANDS, trainer.cli.COMMANDS, tuning.cli.COMMANDS]


def run(*arguments, cwd=None, env=None):
    line = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd, env=env)


def test_every_command_has_one_word_of_its_own():
    names = [name for table in (*TABLES, cxrflow.OWN) for name in table]
    assert len(names) == len(set(names))
    assert all(" " not in name and name != "k8s" for name in names)
    listed = run("cxrflow").stdout
    assert all(f"\n  {name} " in listed for name in [*names, "k8s"])


def test_a_command_is_the_same_by_both_names(phantoms, dataset):
    by_package, by_word = run("beam_prep", "verify", dataset), run("cxrflow", "verify", dataset)
    assert (by_word.returncode, by_word.stdout) == (0, by_package.stdout)
    wrong = run("cxrflow", "train")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --data and --output are missing; see cxrflow train --help\n"
    assert run("cxrflow", "k8s", "logs", "--help").stdout.startswith("usage: cxrflow k8s logs --name TEXT")
    assert "expected one of: synthesize" in run("cxrflow", "tarin").stderr


def test_every_program_tells_its_version():
    versions = {
        run(*line).stdout for line in (["cxrflow", "version"], ["trainer", "--version"], ["cxrflow", "--version"])
    }
    versions.add(run("cxrflow", "train", "--version").stdout)
    (version,) = versions
    assert version.startswith("cxrflow 0.")


@pytest.mark.parametrize("line", [["cxrflow", "search", "--help"], ["tuning", "search", "--help"]])
def test_a_package_of_another_program_is_refused(line, tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("raise SystemExit('the code of a stranger ran')")
    (tmp_path / "beam_prep").symlink_to(ROOT / "beam_prep")
    for name in ("tuning", "k8s", "cxrflow.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    result = run(*line, cwd=tmp_path, env={"PYTHONPATH": ""})
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: trainer is the package of another program, {tmp_path}/trainer/__init__.py")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_wheel_works_in_an_environment_of_its_own(tmp_path):
    def call(*line):
        return subprocess.run([*map(str, line)], capture_output=True, text=True, check=True, cwd=tmp_path)

    uv, source = Path(sys.executable).with_name("uv"), tmp_path / "source"
    for name in ("beam_prep", "trainer", "tuning", "k8s"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("cxrflow.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(uv, "build", "--wheel", "--out-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"cxrflow.py", "trainer/config/presets/best.json"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]
    call(uv, "venv", "--python", sys.executable, "env")
    call(uv, "pip", "install", "--python", "env/bin/python", "--constraint", ROOT / "constraints.txt", wheel)
    assert "k8s " in call("env/bin/cxrflow", "--help").stdout
    assert call("env/bin/cxrflow", "train", "--help").stdout.startswith("usage: cxrflow train")
    advice = f"pip install 'cxrflow[train] @ file://{wheel}'"
    assert advice in call("env/bin/cxrflow", "doctor").stdout
