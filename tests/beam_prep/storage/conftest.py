"""A folder in a bucket, for the tests of this room."""

import pytest

from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import to_path


@pytest.fixture
def place(bucket) -> ObjectPath:
    return to_path(f"{bucket.url}/folder")
