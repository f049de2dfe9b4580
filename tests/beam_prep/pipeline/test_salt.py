"""The salt of a dataset: public where the names are, else a secret of the site, and always one."""

import base64
import binascii
import bz2
import hashlib
import logging
import os
import re
import shutil
import zlib
from contextlib import suppress

import apache_beam as beam
import dicom_files
import numpy as np
import pytest
from dataset_files import files_of, records_of
from PIL import Image

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import BY_CSV, BY_FOLDER, BY_REGEX, PUBLIC_SALT, UNKNOWN
from beam_prep.pipeline.graph import build_in_bucket
from beam_prep.pipeline.local_job import prepare
from beam_prep.pipeline.runners import parse_options
from beam_prep.pipeline.salt import SaltFile, default_salt, given_salt, salt_path
from beam_prep.pipeline.work_folder import WorkFolder
from beam_prep.sources.discover import Source, describe
from beam_prep.storage.paths import list_files

KAGGLE = describe("train/PNEUMONIA/person1_virus_1.jpeg")
PUBLIC_NAMES = (
    *("NORMAL/00000013_005.png", "NORMAL/NORMAL2-IM-1427-0001.jpeg", "sub-S03044/ses-E06154/mod-rx/NORMAL/a.png"),
    "NORMAL/COVID-12.png",
)
OWN_NAMES = ("NORMAL/Smith_John.png", "NORMAL/patient_4711/a.png", "sub-4711/ses-1/NORMAL/a.png", "NORMAL/IM-1-1.dcm")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The salt file of a site that has none yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "cxrflow" / "salt"


def test_names_of_public_sets_keep_the_public_salt(site):
    assert default_salt([KAGGLE, *map(describe, PUBLIC_NAMES)]) == PUBLIC_SALT
    assert not site.exists()


@pytest.mark.parametrize(
    "source",
    [*map(describe, OWN_NAMES), *(Source("NORMAL/a.png", 0, None, "X", by) for by in (BY_CSV, BY_FOLDER, BY_REGEX))],
    ids=lambda source: f"{source.filename} {source.told_by}",
)
def test_one_patient_of_the_site_makes_the_salt_secret(site, source):
    assert not default_salt([KAGGLE, source]).is_public


def test_the_salt_of_the_site_is_made_once_and_never_shown(site, caplog):
    own = [Source("NORMAL/a.png", 0, None, "4711", UNKNOWN)]
    first, second = default_salt(own), default_salt(own)
    assert first == second
    assert len(first.value) == 65
    assert (site.stat().st_mode & 0o777, site.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2
    assert all(str(site) in line for line in said)
    assert "made just now: keep a copy" in said[0]
    assert site.read_text().strip() not in caplog.text
    assert given_salt(PrepConfig(input="in", output="out", salt_file=str(site))) == first
    site.chmod(0o644)
    with pytest.raises(UsageError, match="others may read the salt of this site, a secret: chmod 600"):
        default_salt(own)


def test_a_relative_configuration_folder_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert salt_path() == tmp_path / ".config" / "cxrflow" / "salt"


def test_where_a_salt_would_be_forgotten_it_has_to_be_given(site, monkeypatch):
    from beam_prep.pipeline.dataflow_options import complete_options

    own = [Source("NORMAL/a.png", 0, None, "4711", UNKNOWN)]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(UsageError, match=r"a pod would forget .*: --salt_file FILE .* --public_salt"):
        default_salt(own)
    assert default_salt([KAGGLE]) == PUBLIC_SALT
    assert not site.exists()
    with pytest.raises(UsageError, match="no salt for the hashes of patients: --salt_file FILE"):
        complete_options(parse_options(["--runner=DataflowRunner"]), PrepConfig(input="gs://b/i", output="gs://b/o"))


def test_a_public_set_has_the_splits_and_hashes_of_always(dataset):
    rows = [(split, record.filename, record.group) for split, record in records_of(dataset, 32)]
    assert (
        hashlib.sha256(repr(rows).encode()).hexdigest()
        == "1486cb0a8be86f90d6c330bc0ab72014e442c308763279f126395bbeb3568b95"
    )


def test_added_images_move_no_patient_of_the_site(phantoms, site, tmp_path):
    root = tmp_path / "in"
    for number, path in enumerate(sorted(phantoms.rglob("*.jpeg"))):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.parent.name / f"own{number}.jpeg")
    added = [*root.rglob("own?.jpeg")]
    (tmp_path / "later").mkdir()
    for path in added:
        path.rename(tmp_path / "later" / f"{path.parent.name}-{path.name}")
    config = PrepConfig(input=str(root), output=str(tmp_path / "one"), image_sizes=(16,), val_fraction=0.4)
    prepare(config)
    for path in added:
        (tmp_path / "later" / f"{path.parent.name}-{path.name}").rename(path)
    prepare(PrepConfig(input=str(root), output=str(tmp_path / "two"), image_sizes=(16,), val_fraction=0.4))
    one, two = ({r.group: split for split, r in records_of(tmp_path / name, 16)} for name in ("one", "two"))
    assert len(two) == len(one) + len(added)
    assert one.items() <= two.items()
    assert {*one.values()} == {"train", "val"}
    secret = site.read_bytes().strip()
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert not any(secret in (folder / file.name).read_bytes() for file in list_files(folder))


def test_a_dicom_file_under_the_name_of_a_public_image_has_no_public_hash(images, tmp_path):
    one = min((images / "chest_xray" / "train" / "NORMAL").iterdir())
    pixels = np.asarray(Image.open(one).convert("L"))
    one.write_bytes(dicom_files.file(pixels, PatientID="4711"))
    config = PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(16,))
    assert prepare(config).rejected_by_reason == {"header_needs_salt": 1}
    assert not any(PUBLIC_SALT.hash("4711").encode() in content for content in files_of(tmp_path / "out").values())


def readable(graph: bytes) -> bytes:
    """Returns the bytes of a graph, and what is packed in them: Beam compresses its steps and writes them in base64."""
    found = [graph]
    for packed in re.findall(rb"[A-Za-z0-9+/]{20,}={0,2}", graph):
        for unpack in (bz2.decompress, zlib.decompress, bytes):
            with suppress(OSError, ValueError, zlib.error, binascii.Error):
                found.append(unpack(base64.b64decode(packed)))
    return b"".join(found)


def test_a_job_on_a_service_names_the_salt_file_and_holds_no_salt(bucket):
    secret = b"a secret salt, 32 bytes in all.."
    bucket.write("etc/salt", secret)
    config = PrepConfig(input=f"{bucket.url}/raw", output=f"{bucket.url}/out", salt_file=f"{bucket.url}/etc/salt")
    graphs = {}
    for salt in (SaltFile.of(config.salt_file), PUBLIC_SALT):
        pipeline = beam.Pipeline()
        build_in_bucket(pipeline, config, WorkFolder(config.output), salt=salt, software={}, inputs=[], hints=False)
        graphs[salt] = readable(pipeline.to_runner_api().SerializeToString())
    named, public = graphs.values()
    assert b"hospital/etc/salt" in named
    assert secret not in named
    assert PUBLIC_SALT.value in public, "what the graph holds is found"


def test_workers_read_the_salt_that_was_there_when_the_job_was_submitted(bucket):
    place = f"{bucket.url}/etc/salt"
    bucket.write("etc/salt", b"s" * 16)
    kept = SaltFile.of(place)
    assert kept.read() == given_salt(PrepConfig(input="i", output="o", salt_file=place))
    bucket.write("etc/salt", b"t" * 16)
    with pytest.raises(UsageError, match="etc/salt: was replaced since the job was submitted"):
        kept.read()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_salt_file_that_never_ends_is_not_opened(tmp_path, make):
    make(tmp_path / "salt")
    with pytest.raises(UsageError, match=r"--salt_file .*salt: no regular file, but a folder, pipe, socket or device"):
        given_salt(PrepConfig(input="i", output="o", salt_file=str(tmp_path / "salt")))
