"""The program of docs/exporting.md predicts by onnxruntime as it is printed, without TensorFlow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rooms import ROOT

from beam_prep.sources.phantom import phantom
from trainer.config.commands import PredictConfig
from trainer.jobs.use_model import predict

ONNX_PROGRAM, CLIENT = (
    program
    for program in re.findall(r"```\n(import .*?)```", (ROOT / "docs/exporting.md").read_text(), flags=re.DOTALL)
)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> list[str]:
    """Writes three phantoms as PNG and JPEG."""
    folder = tmp_path_factory.mktemp("scans")
    for seed, suffix in enumerate(("png", "jpeg", "png")):
        drawn, _ = phantom(pneumonia=seed == 1, image_px=200, rng=np.random.default_rng(seed))
        Image.fromarray(drawn).save(folder / f"{seed}.{suffix}")
    return sorted(map(str, folder.iterdir()))


@pytest.mark.extras
def test_onnxruntime_predicts_without_tensorflow(command, run, scans, tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("ai_edge_litert")
    out = tmp_path / "out"
    result = command("trainer", "export", "--run", run, "--output", out, "--format", "onnx", "litert")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == ["loading TensorFlow …", "writing onnx, litert …"]
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.tflite", "model.json", "README.md"}
    check = 'import sys; assert not {"tensorflow", "keras", "trainer"} & set(sys.modules)'
    program = tmp_path / "predict.py"
    program.write_text(f"{PROGRAM}\n{check}\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, program, out / "model.onnx", *scans]
    result = subprocess.run(arguments, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    rows = list(predict(PredictConfig(files=tuple(scans), run=str(run)))[1])
    for answer, row in zip(answers, rows, strict=True):
        assert Path(answer["file"]) == Path(row.filename)
        assert answer["probability"] == pytest.approx(row.probability, abs=1e-5)
        assert answer["calibrated_probability"] == pytest.approx(row.calibrated_probability, abs=1e-5)
        assert answer["decision"] == row.prediction
