"""The work on one image, without Beam."""

from dataclasses import replace

import numpy as np
import pytest
from dicom_files import file as dicom
from image_files import encoded
from PIL import Image

from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.image_limits import ImageError
from beam_prep.dataset.patient_groups import Salt
from beam_prep.dataset.tfrecord import is_whole
from beam_prep.images.decode import decode_record
from beam_prep.images.equalize import equalize
from beam_prep.pipeline.prepare_image import prepare_image, public_name
from beam_prep.sources.discover import describe
from beam_prep.sources.phantom import phantom

SOURCE = describe("train/PNEUMONIA/person1_virus_6.png")
OPTIONS = {"image_sizes": (16, 32), "equalization": "hist", "encoding": "raw", "salt": Salt(b"salt")}


@pytest.fixture
def image() -> Image.Image:
    noise = np.random.default_rng(0).integers(40, 90, (32, 32))
    return Image.fromarray(noise.astype(np.uint8))


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_file_becomes_a_record_of_each_size(image, encoding):
    prepared, frames = prepare_image(encoded(image), SOURCE, "name.png", **{**OPTIONS, "encoding": encoding})
    assert all(map(is_whole, frames))
    records = [from_example(framed[12:-4]) for framed in frames]
    assert [(record.height, record.width) for record in records] == [(16, 16), (32, 32)]
    for record, (total, squares) in zip(records, prepared.sums, strict=True):
        pixels = decode_record(record.encoded, encoding=encoding, height=record.height, width=record.width).astype(int)
        assert (pixels.sum(), (pixels**2).sum()) == (total, squares)
        assert (record.label, record.filename, record.group) == (1, "name.png", prepared.group)
    assert np.array_equal(pixels, np.asarray(equalize(image, "hist"))), "the size of the file is kept as it is"


def test_what_the_plan_needs_does_not_depend_on_the_options(image):
    one, _ = prepare_image(encoded(image), SOURCE, "n", **OPTIONS)
    other, _ = prepare_image(
        encoded(image), SOURCE, "n", image_sizes=(20,), equalization="none", encoding="png", salt=Salt(b"x")
    )
    salted = {"group": "", "group_rank": 0, "order": 0}
    assert all(getattr(one, name) != getattr(other, name) for name in salted)
    one, other = (each._replace(sums=(), stats=each.stats._replace(darkest=None), **salted) for each in (one, other))
    assert one == other


def test_a_broken_file_is_an_image_error(image):
    with pytest.raises(ImageError):
        prepare_image(encoded(image)[:200], SOURCE, "n", **OPTIONS)


def test_the_header_of_a_dicom_file_tells_age_sex_and_view_where_a_table_does_not(image):
    data = dicom(np.asarray(image, np.uint16), PatientAge="058Y", PatientSex="F", ViewPosition="PA")
    table = replace(SOURCE, sex="M", domain="Bonn")
    for traits, expected in (((), ("", "", "")), (("age", "sex", "view"), ("40-59", "M", "PA"))):
        _, frames = prepare_image(data, table, "n", **OPTIONS, traits=traits)
        record = from_example(frames[0][12:-4])
        assert (record.age, record.sex, record.view) == expected
        assert record.domain == "Bonn"


def test_a_public_name_is_valid_utf_8_or_a_hash():
    assert public_name("a/b\udcff.png", anonymize=False, salt=Salt(b"x")) == "a/b\\udcff.png"
    assert public_name("a/b.png", anonymize=True, salt=Salt(b"x")) != public_name(
        "a/b.png", anonymize=True, salt=Salt(b"y")
    )


def test_a_blank_image_is_rejected_and_a_repaired_one_is_marked():
    with pytest.raises(ImageError) as caught:
        prepare_image(encoded(Image.new("L", (64, 64), 90)), SOURCE, "n", **OPTIONS, max_blank_fraction=0.99)
    assert caught.value.reason == "blank"
    whole = encoded(phantom(pneumonia=False, image_px=64, rng=np.random.default_rng(0))[0], "JPEG")
    for data, repaired in ((whole, False), (whole[:-2], True)):
        prepared, _ = prepare_image(data, SOURCE, "n", **OPTIONS, max_blank_fraction=0.99)
        assert prepared.repaired is repaired
