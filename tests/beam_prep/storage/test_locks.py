"""The locks of folders, and what is left of a folder in which nothing was written."""

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.storage.locks import exclusive, is_abandoned, locked


def test_folders_that_were_made_for_nothing_are_removed(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("a/b/c", "old/d"):
        with pytest.raises(UsageError), exclusive(tmp_path / name):
            raise UsageError("the input is wrong")
    assert [path.name for path in tmp_path.rglob("*")] == ["old"], "a folder that was there stays"
    with exclusive(tmp_path / "a/b/c"):
        (tmp_path / "a/b/kept").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "kept", "old"]


def test_a_lock_is_abandoned_if_its_file_is_there_and_no_process_holds_it(tmp_path):
    path = tmp_path / ".lock"
    assert not is_abandoned(path)
    with locked(path):
        assert not is_abandoned(path)
    assert is_abandoned(path)
    with locked(path, UsageError("held")):
        pass
