"""Checks that files and folders appear whole, also where folders can't be renamed."""

import os

import pytest
from fuse_folder import like_fuse

from beam_prep.storage.atomic import link_or_copy, replacing


@pytest.mark.parametrize("fuse", [False, True])
def test_a_folder_appears_with_all_its_files(tmp_path, monkeypatch, fuse):
    if fuse:
        like_fuse(monkeypatch)
    with replacing(tmp_path / "export") as temporary:
        (temporary / "saved_model" / "variables").mkdir(parents=True)
        for name in ("model.json", "model.keras", "saved_model/saved_model.pb", "saved_model/variables/index"):
            (temporary / name).write_text(name)
        assert not (tmp_path / "export").exists()
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    names = ("model.json", "model.keras", "saved_model/saved_model.pb", "saved_model/variables/index")
    assert found == {f"export/{name}" for name in names}, "and nothing temporary is left"


def test_without_folder_renames_the_description_comes_last(tmp_path, monkeypatch):
    like_fuse(monkeypatch)
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (replace(source, target), moved.append(target.name)))
    with replacing(tmp_path / "export") as temporary:
        (temporary / "saved_model").mkdir(parents=True)
        for name in ("model.json", "model.keras", "saved_model/saved_model.pb"):
            (temporary / name).write_text(name)
    assert moved == ["saved_model.pb", "model.keras", "model.json"]


@pytest.mark.parametrize("fuse", [False, True])
def test_a_second_name_has_the_same_content(tmp_path, monkeypatch, fuse):
    if fuse:
        like_fuse(monkeypatch)
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "b").samefile(tmp_path / "a") is not fuse
