"""An output folder is cleared of what the project wrote, and of nothing else."""

from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.storage.output_folder import check_only_written, clear_written, matches

PATTERNS = ("config.json", "size-*/*.tfrecord", "last/[0-9]*.npz", "_work/")


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("size-90/a.tfrecord", "size-*/*.tfrecord", True),
        ("size-90/more/a.tfrecord", "size-*/*.tfrecord", False),
        ("_work/spool/a", "_work/", True),
        ("_workshop/a", "_work/", False),
        ("a/config.json", "config.json", False),
    ],
)
def test_a_star_matches_no_slash(name, pattern, fits):
    assert matches(name, pattern) is fits


def test_what_the_project_wrote_is_deleted(tmp_path):
    write(tmp_path, "config.json", "size-90/a.tfrecord", "_work/spool/b", "last/00000001-model.npz")
    write(tmp_path, ".123-0123abcd-config.json", "size-90/.9-0123abcd-a.tfrecord")  # a killed job left these
    check_only_written(tmp_path, PATTERNS)
    clear_written(tmp_path, PATTERNS)
    assert names_in(tmp_path) == set()
    check_only_written(tmp_path / "absent", PATTERNS)
    clear_written(tmp_path / "absent", PATTERNS)


@pytest.mark.parametrize("foreign", ["thesis.docx", "size-90/notes.txt", "last/notes.npz", "mine/a", ".git/config"])
def test_a_folder_with_a_foreign_file_is_refused_and_the_file_never_deleted(tmp_path, foreign):
    write(tmp_path, "config.json", "size-90/a.tfrecord", foreign)
    with pytest.raises(UsageError, match=f"holds {foreign.split('/')[0]}.*does not delete; move it away"):
        check_only_written(tmp_path, PATTERNS)
    clear_written(tmp_path, PATTERNS)
    assert {name for name in names_in(tmp_path) if (tmp_path / name).is_file()} == {foreign}


def test_an_empty_foreign_folder_and_links_are_refused(tmp_path):
    write(tmp_path / "elsewhere", "a.tfrecord")
    for name, make in {
        "mine": lambda path: path.mkdir(),
        "size-90": lambda path: path.symlink_to(tmp_path / "elsewhere"),
        "config.json": lambda path: path.symlink_to(tmp_path / "elsewhere" / "a.tfrecord"),
    }.items():
        output = tmp_path / f"output-{name}"
        output.mkdir()
        make(output / name)
        with pytest.raises(UsageError, match=f"holds {name}"):
            check_only_written(output, PATTERNS)
        clear_written(output, PATTERNS)
    assert (tmp_path / "elsewhere" / "a.tfrecord").exists(), "links are not followed"
