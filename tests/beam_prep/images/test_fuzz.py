"""Decoding any bytes gives an image or an ImageError, soon, in little memory, and without a crash."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[2] / "fixtures" / "data" / "fuzz_decode.py"
ROOT = FUZZER.parents[3]


def fuzz(seed: int, num_inputs: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(FUZZER.parent)])}
    command = [sys.executable, str(FUZZER), str(seed), str(num_inputs)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, errors="replace")
    assert result.returncode == 0, f"crashed at {result.stderr[-2000:]}"
    found = json.loads(result.stdout)
    assert found["wrong"] == []
    assert sum(found["outcomes"].values()) == num_inputs
    assert found["outcomes"]["image"] > num_inputs / 10, "mutations that are all rejected at once test little"


def test_mutated_files_of_every_kind_become_an_image_or_an_image_error():
    fuzz(1, 5000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_many_more_mutated_files(seed):
    fuzz(seed, 50_000)
