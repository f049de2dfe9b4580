"""The permissions of outputs that may tell of patients."""

import os

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.console.file_modes import restrict_outputs


@pytest.fixture(autouse=True)
def same_mask_again():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("asked", "file", "folder"), [("", 0o600, 0o700), ("027", 0o640, 0o750), ("022", 0o644, 0o755)]
)
def test_outputs_are_for_their_owner_unless_asked_otherwise(asked, file, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CXRFLOW_UMASK", asked)
    restrict_outputs()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")] == [file, folder]


@pytest.mark.parametrize("wrong", ["700", "7", "089", "open", "-22"])
def test_a_mask_that_is_none_is_refused(wrong, monkeypatch):
    monkeypatch.setenv("CXRFLOW_UMASK", wrong)
    with pytest.raises(UsageError, match=rf"CXRFLOW_UMASK is {wrong}; expected three octal digits"):
        restrict_outputs()
