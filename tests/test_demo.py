"""The promise of `make demo`, kept by running it."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_make_demo_ends_with_a_model_that_tells_the_classes_of_unseen_patients(tmp_path):
    demo = tmp_path / "demo"
    result = subprocess.run(["make", "demo", f"DEMO={demo}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"report:    {demo}/run/report.html" in result.stdout
    metrics = json.loads((demo / "run" / "metrics.json").read_text())
    assert metrics["test"]["auroc"] >= 0.95
    assert {path.name for path in demo.iterdir()} == {"images", "dataset", "run"}
    for page in ("dataset", "run"):
        assert (demo / page / "report.html").stat().st_size > 50_000
