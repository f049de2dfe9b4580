"""Tables of strangers: packed bombs, rows and files without an end, binary files."""

import gzip
import os
import tracemalloc
import zlib

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.storage import user_files
from beam_prep.storage.user_files import TextLines, read_rows


def read(folder, content: bytes, name: str = "t.csv", **options) -> list[tuple[int, list[str]]]:
    (folder / name).write_bytes(content)
    return list(read_rows(folder / name, "--table", **options))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_read_packed_or_not_in_the_encodings_of_excel(tmp_path, encoding, packed):
    content = 'a;b\r\nä;"1\n2"\r\n\r\n'.encode(encoding)
    name = "t.csv.gz" if packed else "t.csv"
    rows = read(tmp_path, gzip.compress(content) if packed else content, name, separators=",;")
    assert rows == [(1, ["a", "b"]), (3, ["ä", "1\n2"]), (4, [])]
    assert read(tmp_path, b"") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"a" * 2**16, "line 2: expected at most 1048576 characters in a row, found more"),
        (
            b'"' + b"a" * 2**16 + b'\n",',
            "line [0-9]+: (expected at most 1048576 characters in a row|not CSV: field larger)",
        ),
        (b"," * 2**16, "line 2: expected at most 1048576 characters"),
    ],
    ids=["line", "quoted lines", "cells"],
)
def test_a_packed_row_without_an_end_takes_little_memory(tmp_path, line, said):
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"a,b\n") + b"".join(packer.compress(line) for _ in range(2**8)) + packer.flush()
    (tmp_path / "t.csv.gz").write_bytes(packed)
    tracemalloc.start()
    with pytest.raises(UsageError, match=f"^--table, {said}"):
        list(read_rows(tmp_path / "t.csv.gz", "--table"))
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n" + b"," * 10_000, "--table, line 2: expected at most 10000 cells in a row, found 10001"),
        (b"a\n" * 12, "--table, line 12: expected at most 10 rows, found more"),
        (b"a" * 60 + b"\n" + b"a" * 60, "--table, line 2: expected at most 100 characters in the file, found more"),
        (b"a\0b\n", "--table: not CSV in UTF-8, but binary"),
        (b"a\n\xff\n", "--table: not CSV in UTF-8"),
    ],
)
def test_a_table_beyond_the_limits_is_refused_in_one_line(tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(user_files, "MAX_ROWS", 10)
    if b"a" * 60 in content:
        monkeypatch.setattr(user_files, "MAX_FILE_BYTES", 100)
        content = gzip.compress(content)
    with pytest.raises(UsageError, match=f"^{said}"):
        read(tmp_path, content, "t.csv.gz" if content.startswith(b"\x1f") else "t.csv")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-30]], ids=["text", "cut"]
)
def test_a_damaged_packed_table_is_refused(tmp_path, content):
    with pytest.raises(UsageError, match=r"^--table: can't be read as a table: "):
        read(tmp_path, content, "t.csv.gz")


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="--table: no regular file"):
        TextLines(tmp_path / "t.csv", "--table")
