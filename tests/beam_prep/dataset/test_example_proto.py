"""Records are compared with TensorFlow's own `tf.train.Example`."""

from dataclasses import replace

import pytest
import tensorflow as tf

from beam_prep.dataset.example_proto import Record, from_example, to_example

RECORD = Record(
    encoded=bytes(range(256)) * 4,
    encoding="raw",
    height=32,
    width=32,
    label=1,
    filename="train/PNEUMONIA/person1_virus_6 é.jpeg",
    source_id="ab" * 32,
    group="0123456789abcdef",
    source_height=1100,
    source_width=1400,
    domain="Köln",
    age="40-59",
    sex="F",
    view="PA",
)


def test_tensorflow_reads_the_very_features():
    features = tf.train.Example.FromString(to_example(RECORD)).features.feature
    assert features["image/encoded"].bytes_list.value[:] == [RECORD.encoded]
    assert features["image/format"].bytes_list.value[:] == [b"raw"]
    assert features["image/height"].int64_list.value[:] == [32]
    assert features["image/width"].int64_list.value[:] == [32]
    assert features["image/source_height"].int64_list.value[:] == [1100]
    assert features["image/source_width"].int64_list.value[:] == [1400]
    assert features["image/class/label"].int64_list.value[:] == [1]
    assert features["image/class/text"].bytes_list.value[:] == [b"PNEUMONIA"]
    assert features["image/filename"].bytes_list.value[:] == [RECORD.filename.encode()]
    assert features["image/source_id"].bytes_list.value[:] == [RECORD.source_id.encode()]
    assert features["image/group"].bytes_list.value[:] == [RECORD.group.encode()]
    assert features["image/class/labels"].int64_list.value[:] == [0, 1]
    assert features["image/class/mask"].int64_list.value[:] == [1, 1]
    assert features["image/domain"].bytes_list.value[:] == ["Köln".encode()]
    assert [features[f"image/{name}"].bytes_list.value[0] for name in ("age", "sex", "view")] == [b"40-59", b"F", b"PA"]
    assert len(features) == 17


def test_bytes_are_those_of_tensorflow_and_the_same_every_time():
    example = tf.train.Example.FromString(to_example(RECORD))
    assert example.SerializeToString(deterministic=True) == to_example(RECORD) == to_example(RECORD)


def test_what_tensorflow_wrote_is_read_back():
    example = tf.train.Example.FromString(to_example(RECORD))
    assert from_example(example.SerializeToString()) == RECORD


def test_a_record_of_version_1_has_no_traits_and_the_labels_of_its_class():
    example = tf.train.Example.FromString(to_example(RECORD))
    for name in ("domain", "age", "sex", "view", "class/labels", "class/mask"):
        del example.features.feature[f"image/{name}"]
    assert from_example(example.SerializeToString()) == replace(RECORD, domain="", age="", sex="", view="")


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"", tf.train.Example().SerializeToString()])
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError, match=r"not a tf.train.Example|expected one value"):
        from_example(data)
