"""Tests what told the patients of real files: from names and headers to the summary, the manifest and the page."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dataset_files import files_of, records_of
from PIL import Image

from beam_prep import cli
from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare


@pytest.fixture
def arrange(phantoms, tmp_path) -> Callable[..., Path]:
    """Returns a function that copies phantoms under new names, which it makes of class and number; PatientID: DICOM."""

    def arranged(
        name: Callable[[str, int], str], patient_id: Callable[[int], str] | None = None, count: int = 8
    ) -> Path:
        root = tmp_path / "in"
        for label in ("NORMAL", "PNEUMONIA"):
            for number, path in enumerate(sorted(phantoms.rglob(f"{label}/*.jpeg"))[:count]):
                target = root / label / name(label, number)
                target.parent.mkdir(parents=True, exist_ok=True)
                if patient_id is None:
                    shutil.copy(path, target)
                else:
                    pixels = np.asarray(Image.open(path).convert("L"))
                    target.write_bytes(dicom_files.file(pixels, PatientID=patient_id(number)))
        return root

    return arranged


def summary(capsys, root: Path, output: Path, **options) -> str:
    cli.prepare(PrepConfig(input=str(root), output=str(output), image_sizes=(16,), **options), [])
    return capsys.readouterr().out


def test_a_header_goes_before_the_pattern_of_a_file_name(arrange, tmp_path, capsys):
    root = arrange(
        lambda label, number: f"{label[0]}{number // 2}/IM-0001-000{number % 2}.dcm", lambda n: f"ID{n // 2}"
    )
    said = summary(capsys, root, tmp_path / "out", val_fraction=0.5)
    assert "patients:  from DICOM headers (PatientID) for 16 of 16 images" in said
    assert "warning" not in said
    groups = {record.group for _, record in records_of(tmp_path / "out", 16)}
    assert len(groups) == 4


def test_one_patient_id_for_all_is_said_before_the_next_step_and_on_the_page(arrange, tmp_path, capsys):
    root = arrange(lambda label, number: f"{label[0]}{number}/scan.dcm", lambda _: "ANONYMOUS")
    said = summary(capsys, root, tmp_path / "out")
    assert "warning:   all 16 images have the same patient (from DICOM headers (PatientID))" in said
    assert "no share helps" in said
    assert said.index("all 16 images") < said.index("next:")
    assert "trainer train" not in said
    assert "all 16 images have the same patient" in (tmp_path / "out" / "report.html").read_text()
    assert not any(b"ANONYMOUS" in content for content in files_of(tmp_path / "out").values())
    said = summary(capsys, root, tmp_path / "apart", group_from="folder", val_fraction=0.5)
    assert "patients:  from --group_from folder for 16 of 16 images" in said
    assert "warning" not in said


def test_unknown_patients_are_named_by_hashes_or_rejected(arrange, tmp_path, capsys):
    root = arrange(lambda label, number: f"person{number}_virus_1.jpeg" if number else f"secret-{label}.jpeg")
    said = summary(capsys, root, tmp_path / "out")
    assert "patients:  from file names (Kaggle) for 14 of 16 images, unknown for 2" in said
    assert "no patient is known for 2 of 16 images, such as NORMAL/secret-NORMAL.jpeg, PNEUMONIA/secret-" in said
    assert Manifest.read(tmp_path / "out").patients == {"kaggle": 14, "unknown": 2}

    said = summary(capsys, root, tmp_path / "hidden", anonymize=True)
    assert "no patient is known for 2 of 16 images" in said
    assert "secret" not in said
    assert not any(b"secret" in content for content in files_of(tmp_path / "hidden").values())

    manifest = prepare(
        PrepConfig(
            input=str(root),
            output=str(tmp_path / "known"),
            image_sizes=(16,),
            unknown_patient="reject",
            max_rejected_fraction=0.2,
            val_fraction=0.4,  # of 14 patients: no split is empty
        )
    )
    assert manifest.rejected_by_reason == {"unknown_patient": 2}
    assert manifest.patients == {"kaggle": 14}
    assert manifest.warnings == []
    rejected = [json.loads(line) for line in (tmp_path / "known" / "rejected.jsonl").read_text().splitlines()]
    assert [row["filename"] for row in rejected] == ["NORMAL/secret-NORMAL.jpeg", "PNEUMONIA/secret-PNEUMONIA.jpeg"]


def test_a_group_regex_says_how_many_images_it_matches(arrange, tmp_path, capsys):
    root = arrange(lambda _, number: f"{'P' if number < 6 else 'x'}{number}.jpeg")
    said = summary(capsys, root, tmp_path / "out", group_regex=r"(P\d+)")
    assert "patients:  from --group_regex for 12 of 16 images, unknown for 4" in said
    with pytest.raises(UsageError, match="matches no path"):
        prepare(PrepConfig(input=str(root), output=str(tmp_path / "none"), group_regex=r"(Q\d+)"))


def test_one_patient_in_train_and_test_is_the_reason_of_the_rejections(arrange, tmp_path):
    root = arrange(lambda _, number: f"{'test' if number % 2 else 'train'}/{number}.dcm", lambda _: "ANONYMOUS")
    with pytest.raises(RunError, match=r"8 patient_in_test.*all 16 images have the same patient"):
        prepare(PrepConfig(input=str(root), output=str(tmp_path / "out"), image_sizes=(16,)))
