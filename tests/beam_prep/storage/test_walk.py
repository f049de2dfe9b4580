"""Walks through folders with links, circles, pipes and folders that can't be read."""

import os
import socket
from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path
from beam_prep.storage.walk import Entry, EntryKind, read_heads, walk


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(file.name.encode())


def names(root: Path, kind: EntryKind = EntryKind.FILE) -> list[str]:
    return sorted(entry.name for entry in walk(root) if entry.kind is kind)


def test_links_to_folders_and_files_are_followed(tmp_path):
    write(tmp_path / "pool" / "deep" / "a", tmp_path / "pool" / "b", tmp_path / "input" / "c")
    (tmp_path / "input" / "NORMAL").symlink_to(tmp_path / "pool")
    (tmp_path / "input" / "d").symlink_to(tmp_path / "pool" / "b")
    assert names(tmp_path / "input") == ["NORMAL/b", "NORMAL/deep/a", "c", "d"]


def test_a_folder_is_listed_once_and_under_its_own_path_whatever_its_links_are_called(tmp_path):
    write(tmp_path / "NORMAL" / "a")
    (tmp_path / "A link").symlink_to(tmp_path / "NORMAL")
    (tmp_path / "z link").symlink_to("NORMAL")
    assert names(tmp_path) == ["NORMAL/a"]
    assert names(tmp_path, EntryKind.REPEATED) == ["A link", "z link"]


def test_of_two_links_to_a_folder_elsewhere_the_first_by_name_counts(tmp_path):
    write(tmp_path / "pool" / "a")
    (tmp_path / "input").mkdir()
    for link in ("two", "one"):
        (tmp_path / "input" / link).symlink_to(tmp_path / "pool")
    assert names(tmp_path / "input") == ["one/a"]
    assert names(tmp_path / "input", EntryKind.REPEATED) == ["two"]


def test_circles_of_links_end(tmp_path):
    write(tmp_path / "input" / "a", tmp_path / "other" / "b")
    (tmp_path / "input" / "self").symlink_to(".")
    (tmp_path / "input" / "up").symlink_to(tmp_path)
    (tmp_path / "input" / "there").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "input")
    assert names(tmp_path / "input") == ["a", "there/b"]
    assert names(tmp_path / "input", EntryKind.REPEATED) == ["self", "there/back", "up/input", "up/other"]


def test_what_is_no_regular_file_is_told_apart_without_being_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "nowhere.png").symlink_to("gone")
    (tmp_path / "circle.png").symlink_to("circle.png")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.png")
    assert names(tmp_path, EntryKind.SPECIAL) == ["circle.png", "device.png", "nowhere.png", "pipe.png", "socket.png"]
    assert names(tmp_path) == []


def test_hidden_files_and_folders_are_one_entry_each(tmp_path):
    write(
        tmp_path / ".git" / "a",
        tmp_path / ".git" / "b",
        tmp_path / "c" / "._d",
        tmp_path / "__MACOSX" / "e",
        tmp_path / "@eaDir" / "f",
    )
    assert list(walk(tmp_path / "c")) == [Entry("._d", EntryKind.HIDDEN)]
    assert names(tmp_path, EntryKind.HIDDEN) == [".git", "@eaDir", "__MACOSX", "c/._d"]


def test_a_folder_that_cannot_be_read_is_an_error_that_names_it(unprivileged):
    write(unprivileged / "NORMAL" / "a.png", unprivileged / "PNEUMONIA" / "b.png")
    (unprivileged / "PNEUMONIA").chmod(0)
    with pytest.raises(UsageError, match=r"PNEUMONIA: the folder can't be read \(Permission denied\)"):
        list(walk(unprivileged))
    (unprivileged / "PNEUMONIA").chmod(0o700)


def test_the_beginnings_of_files_are_read_here_and_in_a_bucket(tmp_path, bucket):
    write(tmp_path / "long name", tmp_path / "b")
    (tmp_path / "empty").touch()
    wanted = ["long name", "empty", "gone", "b"]
    assert list(read_heads(tmp_path, wanted, 4)) == [b"long", b"", None, b"b"]
    for name, data in (("long name", b"long name"), ("empty", b""), ("b", b"b")):
        bucket.write(f"raw/{name}", data)
    assert list(read_heads(to_path(f"{bucket.url}/raw"), wanted, 4)) == [b"long", b"", None, b"b"]
