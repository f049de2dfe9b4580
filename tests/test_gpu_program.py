"""The training step is compiled for a real GPU, by XLA's own compiler, on a machine that has none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu_program.py"

MOST_KERNELS = {
    "baseline 90 px, batch 18": 110,
    "preset best": 450,
    "vgg19 224 px, head": 70,
    "inception 224 px, last 10 layers": 410,
    "every change of images": 190,
}
"""The most kernels of a step, somewhat above the numbers in docs/gpu.md: more show that a form for XLA does not fit."""


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="the compiler is built for Linux")
@pytest.mark.parametrize("case", MOST_KERNELS)
def test_a_gpu_runs_a_step_as_one_deterministic_program_of_few_kernels(case):
    result = subprocess.run([sys.executable, SCRIPT, case], capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout)
    assert "error" not in line, line
    assert line["programs"] == 1
    assert line["kernels"] <= MOST_KERNELS[case]
    assert sum(line["of"].values()) == line["kernels"]
    assert line["of"].get("copy", 0) <= 3
