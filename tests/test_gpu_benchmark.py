"""The benchmark of a training on a GPU runs on a CPU too, small; its program is compiled for a real GPU without one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beam_prep.config import PrepConfig
from beam_prep.pipeline.local_job import prepare

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ALWAYS = {"step_images_per_s", "step_ms", "epoch_s", "epoch_images_per_s", "validation_images_per_s", "compile_s"}

MOST = {
    "baseline 90 px, batch 18": (102, 700),
    "preset best": (450, 480),
    "vgg19 224 px, head": (70, 4500),
    "inception 224 px, last 10 layers": (410, 8000),
    "inception 224 px, head, streamed": (380, 7700),
    "every change of images": (177, 680),
}
"""The most kernels of a step, and MB of their operands; more than in docs/gpu.md: a form for XLA is not used."""


def run(*arguments: str, script: str = "gpu_training.py") -> list[dict]:
    """Runs a benchmark and returns its lines."""
    command = [sys.executable, BENCHMARKS / script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["baseline 90 px, batch 256", "preset best as of this issue"])
def test_a_line_has_the_measurements_of_this_project_and_of_keras(case):
    (line,) = run("--rivals", "project", "keras", "--", case)
    assert line["case"] == case
    assert line["devices"].keys() == {"project", "keras"}
    for rival in ("project", "keras"):
        assert line[rival].keys() >= ALWAYS | {"utilization"}, line[rival]
        assert all(line[rival][name] > 0 for name in ALWAYS)
    assert line["project"]["speed"]["device"] == line["devices"]["project"]


@pytest.mark.slow
def test_what_does_not_end_in_time_is_stopped():
    lines = run("--rivals", "project", "--seconds", "1", "--data", "no-dataset")
    assert len(lines) == 12
    assert all(line["left out"] == "1 s are over" for line in lines)


@pytest.mark.slow
def test_runs_of_one_seed_are_compared_bit_by_bit(phantoms, tmp_path):
    data = tmp_path / "dataset"
    prepare(PrepConfig(input=str(phantoms), output=str(data), image_sizes=(90,), num_shards=1))
    (line,) = run("--data", str(data), "--", "a seed twice, and killed and resumed")
    found = line["project"]
    assert found["second_run_is_equal"], line
    assert found["resumed_run_is_equal"], line
    assert found["killed_with"] == -signal.SIGKILL
    assert found["resumed_from"]
    assert line["devices"]["project"] == found["speed"]["device"]


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="the compiler is built for Linux")
@pytest.mark.parametrize("case", MOST)
def test_a_gpu_runs_a_step_as_one_deterministic_program_of_few_kernels(case):
    name, *streamed = case.split(", streamed")
    (line,) = run(name, *["--streamed"] * len(streamed), script="gpu_program.py")
    assert "error" not in line, line
    assert line["programs"] == 1
    for name, most in zip(("kernels", "operands_mb"), MOST[case], strict=True):
        assert line[name] <= most, name
    assert line["of"].get("copy", 0) <= 3
