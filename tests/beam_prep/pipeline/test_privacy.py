"""Nothing about a patient leaves a preparation but a salted hash."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dataset_files import files_of, records_of
from PIL import Image

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.patient_groups import UNKNOWN, rank
from beam_prep.pipeline.listing import Listing
from beam_prep.pipeline.local_job import prepare
from beam_prep.report.dataset_page import write_report
from beam_prep.sources.discover import Source


def test_a_secret_salt_hides_hashes_splits_and_order(phantoms, dataset, tmp_path):
    (tmp_path / "salt").write_bytes(b"sixteen bytes or more")
    config = PrepConfig(input=str(phantoms), output=str(tmp_path / "out"), image_sizes=(32,), num_shards=2)
    prepare(replace(config, salt_file=str(tmp_path / "salt")))
    one, other = ([(s, r.filename, r.group) for s, r in records_of(d, 32)] for d in (dataset, tmp_path / "out"))
    assert {row[1] for row in one} == {row[1] for row in other}
    assert [row[1] for row in one if row[0] == "test"] != [row[1] for row in other if row[0] == "test"]
    assert {row[1] for row in one if row[0] == "val"} != {row[1] for row in other if row[0] == "val"}
    assert not {row[2] for row in one} & {row[2] for row in other}
    (tmp_path / "salt").write_bytes(b"short")
    with pytest.raises(UsageError, match="at least 16"):
        prepare(replace(config, salt_file=str(tmp_path / "salt"), overwrite=True))


def test_a_listing_can_be_read_with_the_key_of_its_job_only(tmp_path):
    sources = [Source(f"NORMAL/Smith{number}.png", 0, None, "SECRET-ID", UNKNOWN) for number in range(3)]
    sources.append(Source("NORMAL/\udcff.png", 0, "test", "X" * 1000, UNKNOWN))
    listing = Listing.write(str(tmp_path / "listing"), sources)
    assert list(listing.read()) == sources
    content = (tmp_path / "listing").read_bytes()
    assert not any(word in base64.b64decode(line) for line in content.splitlines() for word in (b"Smith", b"SECRET"))
    assert len(set(content.splitlines())) == 4
    assert "key" not in repr(listing)
    assert Listing.write(str(tmp_path / "listing"), sources).key != listing.key


def test_the_work_folder_of_a_stopped_job_names_nobody_and_only_its_owner_may_read_it(images, tmp_path):
    rows = "".join(f"{path.relative_to(images)},SECRET-{n}\n" for n, path in enumerate(sorted(images.rglob("*.jpeg"))))
    (tmp_path / "patients.csv").write_text(f"path,group\n{rows}")
    (images / "chest_xray" / "train" / "NORMAL" / "IM-9001-0001.jpeg").write_bytes(b"broken")
    config = PrepConfig(
        input=str(images),
        output=str(tmp_path / "out"),
        image_sizes=(32,),
        anonymize=True,
        metadata_csv=str(tmp_path / "patients.csv"),
        max_rejected_fraction=0,
    )
    with pytest.raises(RunError, match="holds no dataset") as error:
        prepare(config)
    work = tmp_path / "out" / "_work"
    left = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert {"sources.jsonl", "done.jsonl", "job.json", "problem.txt"} <= {path.name for path in left}
    assert sum(content.count(b"group_rank") for path, content in left.items() if path.suffix == ".notes") == 80
    for path, content in (*left.items(), ("the error", str(error.value).encode())):
        for part in (b"person", b"IM-", b".jpeg", b"SECRET", bytes(images)):
            assert part not in content, path
        for guess in map("SECRET-{}".format, range(80)):
            assert str(rank(guess)).encode() not in content, path
    assert work.stat().st_mode & 0o777 == 0o700
    assert prepare(replace(config, max_rejected_fraction=0.1)).num_records == 80
    assert not work.exists()


def test_anonymize_leaves_no_file_name_anywhere(images, tmp_path):
    folder = images / "chest_xray" / "train" / "NORMAL"
    (folder / "IM-9001-0001.jpeg").write_bytes(b"broken")
    one, other = sorted(folder.glob("IM-0*.jpeg"))[:2]
    shutil.copy(one, folder / "IM-9002-0001.jpeg")
    shutil.copy(other, folder.parent / "PNEUMONIA" / "person9003_virus_1.jpeg")
    config = PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), anonymize=True)
    manifest = prepare(config)
    assert (manifest.num_records, manifest.num_duplicates, manifest.num_rejected) == (79, 1, 3)
    contents = files_of(tmp_path / "out")
    assert "audit.json" in contents
    for name, content in contents.items():
        for part in (b"person", b"IM-", b".jpeg"):
            assert part not in content, name
    page = (tmp_path / "out" / "report.html").read_text()
    assert "IM-" not in page
    assert "person9003" not in page
    assert "pictures are not shown, since text that names a patient may be burnt into them" in page
    assert "<img" not in page
    shown = write_report(tmp_path / "out", images, "on").read_text()
    assert "<img" in shown
    assert "with --anonymize the dataset does not tell" in shown


def test_dicom_files_stay_with_their_patient_and_do_not_name_it(phantoms, tmp_path, caplog):
    secrets = set()
    for number, path in enumerate(sorted(phantoms.rglob("*.jpeg"))):
        # A patient has two files in different folders, and neither file name tells the patient.
        label, patient = path.parent.name, f"SECRET-ID-{number // 2 if number < 60 else number}"
        secrets |= {patient.encode(), dicom_files.PATIENT.encode()}
        name = tmp_path / "in" / f"site{number % 2}" / label / f"{number}.{('dcm', 'DICOM')[number % 3 == 0]}"
        name.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        name.write_bytes(dicom_files.file(pixels, BitsStored=12, PatientID=patient))
    (tmp_path / "in/site0/NORMAL/broken.dcm").write_bytes(dicom_files.file(pixels, PatientID="SECRET-X")[:-500])
    (tmp_path / "in/site0/NORMAL/film.dcm").write_bytes(
        dicom_files.file(np.stack([pixels] * 2), NumberOfFrames=2, PatientID="SECRET-X")
    )
    config = PrepConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out"), image_sizes=(32,), val_fraction=0.4)
    manifest = prepare(config)
    assert "hashed with the secret salt of this site" in caplog.text
    assert (manifest.num_records, manifest.num_rejected) == (80, 2)
    rejected = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in rejected] == ["undecodable", "multi_frame"]
    split_of: dict[str, set[str]] = {}
    for split, record in records_of(tmp_path / "out", 32):
        number = int(Path(record.filename).stem)
        split_of.setdefault(f"{number // 2 if number < 60 else number}", set()).add(f"{split} {record.group}")
    assert len(split_of) == 50
    assert all(len(places) == 1 for places in split_of.values())
    assert len({place.split()[0] for places in split_of.values() for place in places}) == 2
    for data in ((path.read_bytes()) for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert b"SECRET" not in data
        assert not any(secret in data for secret in secrets)
