"""Describes a prepared dataset to TensorFlow Datasets, whose `builder_from_directory("DATASET/size-90")` opens it then.

The records stay as they are. Source: `DatasetInfo` and `FeatureConnector.from_json` of tensorflow-datasets 4.9.
"""

from __future__ import annotations

import json
from typing import Any

from beam_prep.dataset import schema
from beam_prep.dataset.manifest import TFDS_NAMES, Manifest
from beam_prep.dataset.sharding import size_folder
from beam_prep.storage.atomic import write_text
from beam_prep.storage.paths import to_path

_FEATURES = "tensorflow_datasets.core.features"


def write_tfds_files(dataset: str) -> list[str]:
    """Writes `features.json` and `dataset_info.json` beside the shards of each size; returns the folders.

    Raises:
        UsageError: there is no dataset, or its manifest is damaged.
    """
    place, folders = to_path(dataset), []
    manifest = Manifest.read(place)
    for image_px in manifest.image_sizes:
        folder = place / size_folder(image_px)
        contents = (dataset_info(manifest, image_px), features(manifest, image_px))
        for name, content in zip(TFDS_NAMES, contents, strict=True):
            write_text(folder / name, json.dumps(content, indent=2) + "\n")
        folders.append(str(folder))
    return folders


def features(manifest: Manifest, image_px: int) -> dict[str, Any]:
    """Returns the content of `features.json`: the features of a record by their names in it."""
    shape = [image_px, image_px, 1]
    if manifest.options.get("encoding") == "png":
        image = _feature("image_feature.Image", shape=shape, dtype="uint8", encoding_format="png")
    else:
        image = _feature("tensor_feature.Tensor", shape=shape, dtype="uint8", encoding="bytes")
    known: dict[str, Any] = {schema.ENCODED: image}
    if manifest.labels.is_multilabel:
        vector = _feature("tensor_feature.Tensor", shape=[len(manifest.class_names)], dtype="int64")
        known |= {schema.LABELS: vector, schema.LABEL_MASK: vector}
    else:
        known[schema.LABEL] = _feature("class_label_feature.ClassLabel", names=list(manifest.class_names))
    texts = [schema.FILENAME, schema.SOURCE_ID, schema.GROUP]
    if manifest.schema_version > 1:
        texts += schema.TRAITS.values()
    known |= {name: _feature("text_feature.Text") for name in texts}
    return _feature("features_dict.FeaturesDict", **known)


def dataset_info(manifest: Manifest, image_px: int) -> dict[str, Any]:
    """Returns the content of `dataset_info.json`: the splits with their shards, and what an example is for training."""
    label = schema.LABELS if manifest.labels.is_multilabel else schema.LABEL
    splits = []
    for split in schema.SPLITS:
        if shards := manifest.shards(image_px, split):
            splits.append(
                {
                    "name": split,
                    "shardLengths": [str(shard.num_records) for shard in shards],
                    "numBytes": str(sum(shard.size_bytes for shard in shards)),
                    "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
                }
            )
    return {
        "name": "cxrflow",
        "version": f"{manifest.schema_version}.0.0",
        "description": f"Chest X-rays prepared by cxrflow, task {manifest.task}, classes "
        f"{', '.join(manifest.class_names)}, fingerprint {manifest.fingerprint}.",
        "fileFormat": "tfrecord",
        "supervisedKeys": {"tuple": {"items": [{"featureKey": schema.ENCODED}, {"featureKey": label}]}},
        "splits": splits,
    }


def _feature(name: str, **content: Any) -> dict[str, Any]:
    return {"type": f"{_FEATURES}.{name}", "content": content}
