"""A full run with --anonymize leaves no name of a file, no PatientID and no text of a header anywhere."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from PIL import Image

NAMES = (b"SMITH", b"PID-4711", b"ST-ELSEWHERE", b"WARD-9", b"Doe^Jane")
"""Parts of file names, PatientIDs, an institution's and a folder's name, and the patient's name in the headers."""

ENVIRONMENT = ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""Variables that name folders, which belong to the machine or the user."""


@pytest.fixture
def raw(phantoms, tmp_path) -> Path:
    """DICOM and JPEG files whose names and headers tell of patients, some of them broken or twice there."""
    root = tmp_path / "WARD-9"
    for number, path in enumerate(sorted(phantoms.rglob("*.jpeg"))):
        folder = root / ("test" if number % 4 == 0 else "train") / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        if number % 2:
            shutil.copy(path, folder / f"SMITH-{number}.jpeg")
            continue
        header = {"PatientID": f"PID-4711-{number}", "InstitutionName": "ST-ELSEWHERE"}
        content = dicom_files.file(np.asarray(Image.open(path).convert("L")), **header)
        (folder / f"SMITH-{number}.dcm").write_bytes(content)
    (folder / "SMITH-broken.dcm").write_bytes(content[:-800])
    (folder / "SMITH-broken.jpeg").write_bytes(b"\xff\xd8\xff")
    (folder / "SMITH-copy.dcm").write_bytes(content)
    return root


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The folder that holds all that is written: outputs, temporary files, caches and the user's configuration."""
    place = tmp_path / "place"
    for variable in ENVIRONMENT:
        (place / variable).mkdir(parents=True)
        monkeypatch.setenv(variable, str(place / variable))
    return place


def check(place: Path, *said: str) -> None:
    """Checks all files below a folder, their names, and what was printed; and that others may read none of it."""
    found = [path for path in place.rglob("*") if not path.is_symlink()]
    assert found
    for path in found:
        assert not any(name in os.fsencode(path.name) for name in NAMES), path
        content = path.read_bytes() if path.is_file() else b""
        assert not any(name in content for name in NAMES), path
        assert path.name in ENVIRONMENT or path.stat().st_mode & 0o077 == 0, path
    for text in said:
        assert not any(name.decode() in text for name in NAMES), text


@pytest.mark.slow
def test_no_trace_of_a_patient_is_left_by_an_anonymous_run(
    raw, place, command: Callable[..., subprocess.CompletedProcess]
):
    prepare = ("beam_prep", "prepare", "--input", raw, "--output", place / "dataset", "--anonymize")
    prepare = (*prepare, "--image_sizes", 32, "--max_rejected_fraction")

    killed = subprocess.Popen(
        [sys.executable, "-m", *map(str, prepare), "0.5"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    progress = place / "dataset" / "_work" / "progress"
    deadline = time.monotonic() + 200
    while not (progress.exists() and progress.stat().st_size > 20) and killed.poll() is None:
        assert time.monotonic() < deadline
    killed.send_signal(signal.SIGKILL)
    check(place, killed.communicate()[0])

    failed = command(*prepare, 0)
    assert failed.returncode == 1
    assert "2 of 83 inputs are rejected" in failed.stderr
    check(place, failed.stdout, failed.stderr)

    done = command(*prepare, 0.5)
    assert done.returncode == 0, done.stderr
    assert not (place / "dataset" / "_work").exists()
    run, dataset = place / "run", place / "dataset"
    small = ("--image_size", 32, "--batch_size", 8, "--epochs", 1)
    said = [
        done,
        command("beam_prep", "verify", dataset),
        command("beam_prep", "report", dataset, "--input", raw),
        command("trainer", "train", "--data", dataset, "--output", run, *small),
        command("trainer", "evaluate", "--run", run, "--data", dataset, "--split", "val"),
        command("trainer", "compare", run, run, "--output", place / "compared.html"),
    ]
    assert [result.returncode for result in said] == [0] * 6, [result.stderr for result in said]
    check(place, *(text for result in said for text in (result.stdout, result.stderr)))
    assert (run / "predictions-test.csv").read_text().count("\n") > 10
    for page in (dataset / "report.html", run / "report.html"):
        assert "<img" not in page.read_text(), "text may be burnt into the pixels"
