"""Defines the record contract: feature names, classes, splits. Standard library only.

Source: feature names follow the TensorFlow image convention (`image/encoded`, `image/class/label`, ...).
"""

SCHEMA_VERSION = 1

CLASS_NAMES = ("NORMAL", "PNEUMONIA")
"""The names of the classes; the index is the label: 0 is NORMAL, 1 (the positive class) is PNEUMONIA."""

SPLITS = ("train", "val", "test")

ENCODED = "image/encoded"  # bytes: raw pixels, row by row, or PNG
FORMAT = "image/format"  # bytes: b"raw" or b"png"
HEIGHT = "image/height"  # int64, px
WIDTH = "image/width"  # int64, px
SOURCE_HEIGHT = "image/source_height"  # int64, px, of the decoded image
SOURCE_WIDTH = "image/source_width"  # int64, px
LABEL = "image/class/label"  # int64: index into CLASS_NAMES
TEXT = "image/class/text"  # bytes: the class name
FILENAME = "image/filename"  # bytes: path relative to the input folder, "/" between parts
SOURCE_ID = "image/source_id"  # bytes: SHA-256 (hex) of the decoded pixels at full size
GROUP = "image/group"  # bytes: salted hash (hex) of the patient group
