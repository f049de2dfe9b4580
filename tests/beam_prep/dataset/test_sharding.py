"""Shard arithmetic: names, numbers and bounds of shards."""

from itertools import pairwise

import pytest

from beam_prep.dataset.sharding import pick_num_shards, shard_bounds, shard_name, size_folder


def test_name_and_folder():
    assert shard_name("train", 3, 8) == "train-00003-of-00008.tfrecord"
    assert size_folder(90) == "size-90"


@pytest.mark.parametrize(
    ("num_records", "record_bytes", "asked", "expected"),
    [
        (1000, 8000, 5, 5),  # as asked
        (3, 8000, 8, 3),  # no shard without a record
        (10, 8000, 0, 1),  # few records: one
        (5000, 8000, 0, 8),  # enough for several readers
        (100_000, 50_000, 0, 38),  # bounded in bytes
    ],
)
def test_number_of_shards(num_records, record_bytes, asked, expected):
    assert pick_num_shards(num_records, record_bytes, asked) == expected


@pytest.mark.parametrize(("num_records", "num_shards"), [(10, 3), (7, 7), (1, 1), (1000, 8)])
def test_bounds_cover_all_records_evenly(num_records, num_shards):
    bounds = shard_bounds(num_records, num_shards)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == num_records
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    lengths = [end - start for start, end in bounds]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1
