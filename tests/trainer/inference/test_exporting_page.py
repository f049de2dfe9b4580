"""The program of docs/exporting.md predicts by onnxruntime as it is printed, without TensorFlow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOT

from trainer.config.commands import PredictConfig
from trainer.jobs.use_model import predict

PROGRAM = re.findall(r"```\n(import .*?)```", (ROOT / "docs/exporting.md").read_text(), flags=re.DOTALL)[0]
OLD = ROOT / "tests/fixtures/before_rooms"


@pytest.mark.extras
def test_onnxruntime_predicts_without_tensorflow(command, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("ai_edge_litert")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # set by tests before this one, it would show more
    out, run, scans = tmp_path / "out", OLD / "run", sorted(map(str, (OLD / "images").rglob("*.*")))[:3]
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
