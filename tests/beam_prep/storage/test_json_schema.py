"""JSON of strangers: what takes memory, what two readers understand in two ways, lists of lines."""

import pytest

from beam_prep.storage import json_schema
from beam_prep.storage.json_schema import Mismatch, anything, entries, load_json, read_json_lines, text, whole


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "two entries of one name"),
        (b"[" + b"[]," * 1_000_000 + b"1]", "at most 1000000 objects and lists"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 30 + b"]" * 30, "at most 20 levels"),
        (b"1" * 5000, "a whole number of 5000 digits"),
        (b'\xef\xbb\xbf{"a"}', "expected JSON"),
        (b'{"a": "\x00"}', "expected JSON"),
        (b"\xff\xfe\xfa", "expected JSON"),
        (b"", "expected JSON"),
    ],
)
def test_json_that_costs_memory_or_has_two_meanings_is_refused_in_one_line(data, said):
    with pytest.raises(Mismatch, match=said) as raised:
        load_json(data, anything)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_lines_are_checked_one_by_one_and_errors_name_them(tmp_path, monkeypatch):
    check = entries({"name": text(), "count": whole()}, others=True)
    path = tmp_path / "a.jsonl"
    path.write_text('{"name": "a", "count": 1, "more": []}\n\n{"name": "b\\udcff", "count": 2}')
    assert [line["count"] for line in read_json_lines(path, check)] == [1, 2]
    path.write_text('{"name": "a", "count": 1}\n{"name": ["a"], "count": 1}\n')
    with pytest.raises(Mismatch, match=r"^line 2.name: expected a text, found a list of 1$"):
        list(read_json_lines(path, check))
    path.write_text('{"name": "a", "count": 1}\n{"name": \n')
    with pytest.raises(Mismatch, match=r"^line 2: expected JSON"):
        list(read_json_lines(path, check))
    monkeypatch.setattr(json_schema, "MAX_JSON_BYTES", 20)
    with pytest.raises(OSError, match="at most 20 bytes, found"):
        list(read_json_lines(path, check))
