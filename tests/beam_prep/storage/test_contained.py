"""Folders of the project with links out of them, pipes and devices."""

import os
import shutil

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.storage.contained import check_contained
from trainer.run.folder import RunFolder


@pytest.mark.parametrize("command", ["evaluate", "predict", "show"])
def test_commands_refuse_a_folder_with_a_pipe_or_a_link_out_of_it_unopened(tmp_path, command):
    open_folder = {
        "evaluate": Manifest.read,
        "predict": lambda place: RunFolder.at(str(place)).fetch("model.json"),
        "show": check_contained,
    }[command]
    (tmp_path / "secret").write_text("of this machine")
    entries = {
        "a pipe": os.mkfifo,
        "a device": lambda path: os.symlink("/dev/zero", path),
        "a file": lambda path: os.symlink(tmp_path / "secret", path),
        "by dots": lambda path: os.symlink("../../secret", path),
        "nothing": lambda path: os.symlink("/nowhere", path),
    }
    for name, make in entries.items():
        folder = tmp_path / "folder"
        (folder / "below").mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        make(folder / "below" / "entry")
        with pytest.raises(UsageError) as caught:
            open_folder(folder)
        assert "'below/entry' is a " in str(caught.value), name
        shutil.rmtree(folder)


def test_links_within_a_folder_and_a_link_to_it_are_fine(tmp_path):
    (tmp_path / "folder" / "..data").mkdir(parents=True)  # as Kubernetes mounts a volume
    (tmp_path / "folder" / "..data" / "file").write_text("content")
    (tmp_path / "folder" / "file").symlink_to("..data/file")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    check_contained(tmp_path / "link")
    check_contained(tmp_path / "absent")


def test_a_folder_that_is_no_dataset_is_told_by_what_it_lacks(tmp_path):
    (tmp_path / "python").symlink_to("/usr/bin/python3")
    with pytest.raises(UsageError, match="a folder without it"):
        Manifest.read(tmp_path)
    (tmp_path / "manifest.json").symlink_to("/nowhere")
    with pytest.raises(UsageError, match="is a link that leads out of the folder"):
        Manifest.read(tmp_path)
