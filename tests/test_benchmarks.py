"""Every benchmark runs, small; that of a training on a GPU on a CPU, too, and its program is compiled for a GPU."""

import json
import os
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

SMALL = {
    "augmentation": "BATCHES = {90: 1}; ROUNDS = 1",
    "image_memory": "KINDS = dict([*KINDS.items()][:1])",
    "input_pipeline": "NUM_RECORDS = {90: 256, 224: 256}; NUM_FILES = 64; GENERATOR_BATCHES = ROUNDS = 1",
    "interval_coverage": "SETTINGS = SETTINGS[:1]; NUM_LARGE = 2000; NUM_RESAMPLES = 20",
    "near_duplicates": "STEP = 20",
    "nested_selection": "",
    "operating_points": "SAMPLE, DRAWS = 20, 2",
    "person_numbers": "NUM_RANDOM = 10",
    "plan_scale": "",
    "prepare_image": "NUM_IMAGES = 40; ROUNDS = 1",
    "prepare_job": "NUM_LARGE = 40; NUM_SMALL = (40, 80); ROUNDS = 1",
    "prepare_many": "",
    "sweep_overhead": "ROUNDS = 1",
    "tfds_writer": "NUM_IMAGES = 40; ROUNDS = 1",
    "training_epoch": "NUM_STEPS.clear(); NUM_STEPS[18] = 2; ROUNDS = 1",
    "two_replicas": "NUM_STEPS.clear(); NUM_STEPS[18] = 2; ROUNDS = 1",
}
"""The assignments that make each benchmark small, by its name."""

ARGUMENTS = {
    "image_memory": ("0.2",),
    "interval_coverage": ("2",),
    "near_duplicates": ("IMAGES",),
    "operating_points": ("RUN",),
    "person_numbers": ("IMAGES", "IMAGES"),
    "plan_scale": ("600",),
    "prepare_many": ("20",),
}
"""The arguments of those that take some; IMAGES is a folder of images, RUN one of a run."""

ELSEWHERE = {"gpu_program", "gpu_training", "phantom_shortcuts"}
"""The benchmarks that other tests run."""


def run(*arguments: str, script: str = "gpu_training.py") -> list[dict]:
    """Runs a benchmark and returns its lines."""
    command = [sys.executable, BENCHMARKS / script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def predicted_run(tmp_path) -> Path:
    """Makes a run with the predictions of validation and of another set."""
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    for split in ("val", "external-other"):
        rows = (f"{row}.png,{row},{row % 2},{0.1 + 0.7 * (row % 2) + row % 5 / 60:.3f},8100" for row in range(60))
        table = "\n".join(("filename,group,label,probability,source_pixels", *rows))
        (run_folder / f"predictions-{split}.csv").write_text(table + "\n", encoding="utf-8")
    return run_folder


def test_every_benchmark_has_a_test():
    found = {path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert found - {"gpu_compiler", "gpu_rivals"} == SMALL.keys() | ELSEWHERE, "those two are run by the others"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs(name, phantoms, predicted_run, tmp_path):
    if name == "tfds_writer":
        pytest.importorskip("tensorflow_datasets")
    script = tmp_path / f"{name}.py"
    begin, end = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8").split('if __name__ == "__main__":')
    begin = begin.replace("__file__", repr(str(BENCHMARKS / f"{name}.py")))
    script.write_text(f'{begin}\n{SMALL[name]}\nif __name__ == "__main__":{end}', encoding="utf-8")
    places = {"IMAGES": phantoms, "RUN": predicted_run}
    arguments = [str(places.get(each, each)) for each in ARGUMENTS.get(name, ())]
    result = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=BENCHMARKS.parent,
        env=os.environ | {"PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{BENCHMARKS.parent}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


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
    for what, most in zip(("kernels", "operands_mb"), MOST[case], strict=True):
        assert line[what] <= most, what
    assert line["of"].get("copy", 0) <= 3
