"""A file that a user or a stranger names is read whole, and nothing that has no end is opened."""

import os
import socket

import pytest

from beam_prep.storage.json_schema import Mismatch, anything, read_json
from beam_prep.storage.paths import read_file


def make_socket(path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, make_socket, lambda path: path.symlink_to("/dev/zero")], ids=range(4)
)
def test_a_pipe_folder_socket_or_device_is_not_opened(tmp_path, make, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(tmp_path / "file")
    for read in (lambda path: read_file(path, 10), lambda path: read_json(path, anything)):
        with pytest.raises(OSError, match="no regular file, but a folder, pipe, socket or device"):
            read(tmp_path / "file")


def test_a_file_behind_a_link_is_read_up_to_its_largest_size(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 10) == b"0123456789"
    with pytest.raises(OSError, match="expected at most 9 bytes, found 10"):
        read_file(tmp_path / "link", 9)


def test_json_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(Mismatch, match="expected at most 33554432 bytes of JSON, found more"):
        read_json(tmp_path / "file", anything)
