"""A public set in its own layout, from its tables to a sound dataset with its licence on the page."""

from typing import get_args

import numpy as np
import pytest
from dataset_files import records_of
from dicom_files import file
from image_files import encoded
from public_sets import SETS, write_set

from beam_prep import cli
from beam_prep.config import PrepConfig
from beam_prep.config.prepare_flags import Layout
from beam_prep.dataset.manifest import REPORT_NAME, Manifest
from beam_prep.dataset.verify import find_differences
from beam_prep.pipeline.listing import list_inputs, resolve_labels
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.layouts.nih import FINDINGS
from beam_prep.sources.layouts.rsna import CLASSES
from beam_prep.storage.paths import to_path


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    """The tree of NIH ChestX-ray14 with images of 24 px, one of them in colours with transparency, as in the set."""
    root, rng = tmp_path_factory.mktemp("nih"), np.random.default_rng(0)
    names = [name for name, text in SETS["nih"].items() if not text]
    pixels = {name: rng.integers(0, 255, (24, 24), dtype=np.uint8) for name in names}
    images = {name: encoded(grey) for name, grey in pixels.items()}
    grey = pixels[names[1]]
    images[names[1]] = encoded(np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1))
    write_set(root, "nih", images)
    return root


def test_nih_goes_from_its_tables_to_records_of_fourteen_findings(nih, tmp_path, capsys):
    output = tmp_path / "dataset"
    config = PrepConfig(
        input=str(nih), output=str(output), layout="nih", image_sizes=(16,), subgroups=("sex",), val_fraction=0.5
    )
    cli.prepare(config, [])
    manifest = Manifest.read(output)
    assert (manifest.task, manifest.class_names, manifest.options["layout"]) == ("multilabel", FINDINGS, "nih")
    assert manifest.num_records == manifest.num_inputs == 4
    assert manifest.splits["test"].class_counts == {**dict.fromkeys(FINDINGS, 0), "Hernia": 1}
    assert set(manifest.splits["test"].known_counts.values()) == {1}
    assert find_differences(output) == []
    records = {record.filename[-16:]: record for _, record in records_of(output, 16)}
    assert manifest.labels.names_of(records["00000001_000.png"].labels) == ["Cardiomegaly", "Emphysema"]
    assert (records["00000001_001.png"].labels, records["00000001_001.png"].sex) == ((0,) * 14, "M")
    assert records["00000001_000.png"].group == records["00000001_001.png"].group

    printed = capsys.readouterr().out
    assert "set:       NIH ChestX-ray14; licence: free to use" in printed
    assert "cite:      Wang et al." in printed
    assert "note:      the labels were mined from reports" in printed
    assert "left out:  1 image has no label that can be used: not told by the set 1" in printed
    assert "patients:  from file names (NIH ChestX-ray14) for 4 of 4 images" in printed
    page = (output / REPORT_NAME).read_text()
    assert "The images are those of NIH ChestX-ray14. Licence: free to use" in page


def test_the_flag_offers_class_folders_and_every_set_that_is_known():
    assert get_args(Layout) == ("folders", *SETS)


def test_rsna_gives_three_classes_with_patients_and_traits_of_its_headers(tmp_path):
    rng = np.random.default_rng(0)
    names = [name for name, text in SETS["rsna"].items() if not text]
    tags = {"PatientSex": "F", "ViewPosition": "AP"}
    images = {
        name: file(rng.integers(0, 255, (24, 24), dtype=np.uint8), PatientID=name[-40:-4], **tags) for name in names
    }
    write_set(tmp_path / "raw", "rsna", images)
    output = tmp_path / "dataset"
    flags = {"layout": "rsna", "image_sizes": (16,), "subgroups": ("sex", "view")}
    manifest = prepare(PrepConfig(input=str(tmp_path / "raw"), output=str(output), **flags))
    assert (manifest.task, manifest.class_names) == ("multiclass", CLASSES)
    assert (manifest.num_records, manifest.patients) == (3, {"dicom_header": 3})
    assert find_differences(output) == []
    told = {(record.sex, record.view, *manifest.labels.names_of(record.labels)) for _, record in records_of(output, 16)}
    assert told == {("F", "AP", name) for name in CLASSES}


def test_the_tables_of_a_set_are_read_from_a_bucket(nih, bucket):
    bucket.put(nih, "raw")
    config = PrepConfig(input=f"{bucket.url}/raw", output=f"{bucket.url}/out", layout="nih")
    found = {root: list_inputs(config, root, resolve_labels(config, root)) for root in (nih, to_path(config.input))}
    one, other = found.values()
    assert one == other
    assert len(one[0]) == 4
