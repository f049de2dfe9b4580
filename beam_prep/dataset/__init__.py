"""The dataset on disk: record schema, manifest, TFRecord files, verification."""
