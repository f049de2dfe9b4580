"""The dataset page of three classes and of several findings."""

import re

import pytest
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset
from prepared_images import image

from beam_prep.dataset.example_proto import Record
from beam_prep.dataset.schema import LabelSpace
from beam_prep.planning.label_audits import make_audits
from beam_prep.report.dataset_page import write_report
from beam_prep.report.pictures import read_samples

NIH = LabelSpace(tuple(f"Finding {letter}" for letter in "ABCDEFGHIJKLMN"), "multilabel")


def page_of(folder, labels: LabelSpace) -> str:
    write_dataset(folder, labels, num_images=(48, 16, 0), image_px=32)
    rows = [image(f"p{n}", n, label=-1 if labels.is_multilabel else n % 3) for n in range(60)]
    if labels.is_multilabel:
        num_classes = len(labels.class_names)
        rows = [each._replace(findings=tuple((n + k) % 2 for k in range(num_classes))) for n, each in enumerate(rows)]
    make_audits(rows, labels).write(folder)
    return write_report(folder).read_text()


@pytest.mark.parametrize("labels", [THREE_CLASSES, FINDINGS, NIH], ids=["three", "four", "fourteen"])
def test_the_page_has_a_row_for_each_label(tmp_path, labels):
    html = page_of(tmp_path, labels)
    counts, shortcuts = (
        re.search(rf'aria-label="{name}".*?</table>', html, re.DOTALL)[0]
        for name in ("Images by class and split", "Shortcuts")
    )
    for name in labels.class_names:
        assert f'<th scope="row">{name}</th>' in counts
        assert f'<th scope="row">{name}</th>' in shortcuts
    assert ("Findings that occur together" in html) == labels.is_multilabel
    assert len(html) < 3_000_000


def test_the_samples_of_a_finding_are_the_images_that_have_it(tmp_path):
    manifest = write_dataset(tmp_path, FINDINGS, num_images=(48, 8, 0))
    samples, problem = read_samples(tmp_path, manifest)
    assert problem is None
    for index, records in enumerate(samples):
        assert records
        assert all(isinstance(record, Record) and record.labels[index] == 1 for record in records)
