"""Paths of this machine and of buckets."""

import os

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.storage.atomic import write_text
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import file_info, is_inside, list_files, to_path


def test_paths_of_both_kinds():
    assert str(to_path("gs://b/one/") / "two/three") == "gs://b/one/two/three"
    assert to_path("gs://b/one/two").name == "two"
    assert to_path("gs://b") == ObjectPath("b")
    assert to_path("some/folder").name == "folder"
    for wrong in ("s3://b/x", "gs://", "gs:///x"):
        with pytest.raises(UsageError, match="expected a path of this machine, or gs://BUCKET/NAME"):
            to_path(wrong)
    assert is_inside(to_path("gs://b/in/out"), to_path("gs://b/in"))
    assert not is_inside(to_path("gs://b/inside"), to_path("gs://b/in"))
    assert not is_inside(to_path("gs://b/in"), to_path("in"))


def test_a_bucket_path_is_never_a_folder_called_gs(place):
    with pytest.raises(TypeError):
        os.open(place / "x", os.O_RDONLY)


def test_an_object_and_its_folder(place):
    assert not place.exists()
    write_text(place / "sub" / "a.txt", "ä text")
    assert (place / "sub" / "a.txt").read_text() == "ä text"
    assert (place.is_dir(), place.is_file(), (place / "sub" / "a.txt").is_file()) == (True, False, True)
    assert not to_path(f"{place}/su").exists(), "the start of a name is no folder"
    assert [child.name for child in place.iterdir()] == ["sub"]
    (found,) = list_files(place)
    assert (found.name, found.size_bytes) == ("sub/a.txt", 7)
    assert file_info(place / "sub" / "a.txt").stamp == found.stamp
    with pytest.raises(FileNotFoundError):
        file_info(place / "absent")


def test_a_name_that_leads_out_of_the_folder_is_no_file(bucket, place):
    bucket.write("folder/fine", b"x")
    objects = bucket._storage.objects["hospital"]  # a name that the emulator itself would not take
    objects["folder/../../etc/x"] = {**objects["folder/fine"], "name": "folder/../../etc/x"}
    assert [found.name for found in list_files(place)] == ["fine"]
