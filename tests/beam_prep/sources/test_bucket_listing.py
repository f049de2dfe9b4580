"""The key ranges of a folder hold every name once, and about as many names each."""

import pytest

from beam_prep.dataset.input_counts import InputCount, add_up
from beam_prep.sources.bucket_listing import KeyRange, list_range, split_into_ranges
from beam_prep.sources.discover import Source, find_sources
from beam_prep.sources.patients import KNOWN_NAMES
from beam_prep.storage.paths import to_path

NAMES = [
    *(f"train/NORMAL/IM-{number:04d}-0001.jpeg" for number in range(60)),
    *(f"train/PNEUMONIA/person{number}_virus_{number}.jpeg" for number in range(200)),
    "train/NORMAL/IM",  # a name that others begin with
    "train/NORMAL/ä.jpeg",
    "train/NORMAL/\U0001f600.png",
    "train/NORMAL/.hidden.jpeg",
    "test/NORMAL/IM-9000-0001.jpeg",
    "notes.txt",
]


def listed(folder: str, ranges: list[KeyRange]) -> tuple[list[Source], list[InputCount]]:
    """Lists all ranges; returns the images sorted by path, and the counts."""
    found = [
        each
        for key_range in ranges
        for each in list_range(key_range, root=folder, patient_rule=KNOWN_NAMES, keep_splits=False)
    ]
    sources = [each for each in found if isinstance(each, Source)]
    counts = [each for each in found if isinstance(each, InputCount)]
    return sorted(sources, key=lambda source: source.filename), counts


@pytest.fixture
def folder(bucket) -> str:
    for name in NAMES:
        bucket.write(f"raw/{name}", b"x")
    bucket.write("rawer/train/NORMAL/other.jpeg", b"x")
    return f"{bucket.url}/raw"


@pytest.mark.parametrize(("wanted", "small"), [(1, 1000), (8, 20), (24, 12)])
def test_the_parts_are_all_images_once(folder, wanted, small):
    ranges = split_into_ranges(to_path(folder), wanted, small)
    sources, counts = listed(folder, ranges)
    whole_sources, whole_counts = find_sources(folder)
    assert sources == whole_sources
    assert add_up(counts) == add_up(whole_counts)
    assert add_up(counts)["no_image"] == {".txt": 1, "without suffix": 1}


def test_a_large_folder_is_many_parts_and_a_small_one_is_one(folder):
    assert len(split_into_ranges(to_path(folder))) == 1
    ranges = split_into_ranges(to_path(folder), 16, 20)
    sizes = [sum(1 for _ in to_path(folder).files(key_range.start, key_range.end)) for key_range in ranges]
    assert sum(sizes) == len(NAMES)
    assert len(ranges) >= 16
    assert max(sizes) < len(NAMES) / 2


def test_what_is_added_later_is_in_a_part_too(bucket, folder):
    ranges = split_into_ranges(to_path(folder), 16, 20)
    for name in ("a/PNEUMONIA/1.png", "zz/PNEUMONIA/2.png", "train/PNEUMONIA/person1_virus_7.jpeg"):
        bucket.write(f"raw/{name}", b"x")
    assert listed(folder, ranges)[0] == find_sources(folder)[0]
