"""Converts records to and from the bytes of a `tf.train.Example`, without TensorFlow.

The message types are declared here to the protobuf runtime, in a descriptor pool of their own: TensorFlow may be
loaded in the same process and registers the same names in the default pool.

Source: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from beam_prep.dataset import schema


@dataclass(frozen=True)
class Record:
    """The content of one record: an image with its label and origin.

    Attributes:
        encoded: the pixels, uint8 [height, width], in the form that `encoding` names.
        encoding: the form of the pixels, `raw` or `png`.
        height: the height of the image, px.
        width: the width of the image, px.
        label: the index of the class; `schema.NO_CLASS` for the multilabel task.
        filename: the path of the raw image, relative to the input folder.
        source_id: the SHA-256 (hex) of the decoded pixels at full size.
        group: the salted hash of the patient group.
        source_height, source_width: the size of the decoded image, px; 0 in records from before the size was kept.
        domain: where the image comes from, such as a hospital; empty if it is not known.
        age: the band of the patient's age, see `traits.age_band`; empty if it is not known or was not asked for.
        sex: `F` or `M`; empty likewise.
        view: the view position, such as `PA`; empty likewise.
        labels: for each class, 1 if it is true of the image, else 0; made from `label`, as that of two classes, if it
            is not given.
        label_mask: for each class, 1 if its label is known, else 0; all are known if it is not given.
    """

    encoded: bytes
    encoding: str
    height: int
    width: int
    label: int
    filename: str
    source_id: str
    group: str
    source_height: int = 0
    source_width: int = 0
    domain: str = ""
    age: str = ""
    sex: str = ""
    view: str = ""
    labels: tuple[int, ...] = ()
    label_mask: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", schema.DEFAULT_LABELS.vector(self.label))
        if not self.label_mask:
            object.__setattr__(self, "label_mask", (1,) * len(self.labels))

    @property
    def vector(self) -> tuple[int, ...]:
        """The value of each class: `schema.PRESENT`, `ABSENT` or `UNKNOWN`."""
        known = zip(self.labels, self.label_mask, strict=True)
        return tuple(label if is_known else schema.UNKNOWN for label, is_known in known)

    @classmethod
    def of_vector(cls, vector: Sequence[int], **fields: Any) -> Record:
        """Makes a record from the value of each class, see `vector`, and all other fields."""
        labels = tuple(int(value == schema.PRESENT) for value in vector)
        return cls(**fields, labels=labels, label_mask=tuple(int(value != schema.UNKNOWN) for value in vector))


def to_example(record: Record, class_names: Sequence[str] = schema.CLASS_NAMES) -> bytes:
    """Serializes a record; equal records give equal bytes (features are in the order of their names).

    Args:
        record: the record.
        class_names: the names of the classes, as many as the record has labels.
    """
    text = schema.NAMES_SEPARATOR.join(schema.LabelSpace(tuple(class_names)).names_of(record.labels))
    example = _example_class()()
    features = example.features.feature
    for name, value in (
        (schema.ENCODED, record.encoded),
        (schema.FORMAT, record.encoding.encode()),
        (schema.TEXT, text.encode()),
        (schema.FILENAME, record.filename.encode()),
        (schema.SOURCE_ID, record.source_id.encode()),
        (schema.GROUP, record.group.encode()),
        *((feature, getattr(record, name).encode()) for name, feature in schema.TRAITS.items()),
    ):
        features[name].bytes_list.value.append(value)
    for name, numbers in (
        (schema.HEIGHT, (record.height,)),
        (schema.WIDTH, (record.width,)),
        (schema.SOURCE_HEIGHT, (record.source_height,)),
        (schema.SOURCE_WIDTH, (record.source_width,)),
        (schema.LABEL, (record.label,)),
        (schema.LABELS, record.labels),
        (schema.LABEL_MASK, record.label_mask),
    ):
        features[name].int64_list.value.extend(numbers)
    return example.SerializeToString(deterministic=True)


def from_example(data: bytes) -> Record:
    """Parses a record of any version.

    Raises:
        ValueError: the bytes are no `tf.train.Example`, or a feature is missing.
    """
    from google.protobuf.message import DecodeError

    example = _example_class()()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"not a tf.train.Example: {error}") from None
    features = example.features.feature

    def one(name: str, kind: str, default: int | bytes | None = None) -> Any:
        if default is not None and name not in features:
            return default
        values = list(getattr(features[name], kind).value) if name in features else []
        if len(values) != 1:
            raise ValueError(f"feature {name}: expected one value in its {kind}, found {len(values)}")
        return values[0]

    return Record(
        encoded=one(schema.ENCODED, "bytes_list"),
        encoding=one(schema.FORMAT, "bytes_list").decode(),
        height=one(schema.HEIGHT, "int64_list"),
        width=one(schema.WIDTH, "int64_list"),
        label=one(schema.LABEL, "int64_list"),
        filename=one(schema.FILENAME, "bytes_list").decode(),
        source_id=one(schema.SOURCE_ID, "bytes_list").decode(),
        group=one(schema.GROUP, "bytes_list").decode(),
        source_height=one(schema.SOURCE_HEIGHT, "int64_list", default=0),
        source_width=one(schema.SOURCE_WIDTH, "int64_list", default=0),
        **{name: one(feature, "bytes_list", default=b"").decode() for name, feature in schema.TRAITS.items()},
        labels=tuple(features[schema.LABELS].int64_list.value),
        label_mask=tuple(features[schema.LABEL_MASK].int64_list.value),
    )


@cache
def _example_class() -> Any:
    """Returns the message class `tensorflow.Example`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="cxrflow/example.proto", package="tensorflow", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, bool, str], within: Any = None) -> Any:
        declared = (within.nested_type if within else file.message_type).add(name=name)
        for field_name, kind, repeated, type_name in fields:
            declared.field.add(
                name=field_name,
                number=len(declared.field) + 1,
                type=kind,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type_name=f".tensorflow.{type_name}" if type_name else None,
            )
        return declared

    message("BytesList", ("value", kinds.TYPE_BYTES, True, ""))
    message("FloatList", ("value", kinds.TYPE_FLOAT, True, ""))
    message("Int64List", ("value", kinds.TYPE_INT64, True, ""))
    feature = message(
        "Feature",
        ("bytes_list", kinds.TYPE_MESSAGE, False, "BytesList"),
        ("float_list", kinds.TYPE_MESSAGE, False, "FloatList"),
        ("int64_list", kinds.TYPE_MESSAGE, False, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, True, "Features.FeatureEntry"))
    entry = message(
        "FeatureEntry",
        ("key", kinds.TYPE_STRING, False, ""),
        ("value", kinds.TYPE_MESSAGE, False, "Feature"),
        within=features,
    )
    entry.options.map_entry = True
    message("Example", ("features", kinds.TYPE_MESSAGE, False, "Features"))

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
