"""kill -9 at random moments: the same command ends with the same bytes, and nothing that is left names a patient."""

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import files_of

from beam_prep.config import PrepConfig
from beam_prep.pipeline.local_job import prepare

NUM_KILLS = 3
SECRETS = (b"SMITH", b"ID-4711", b"WARD-9")
"""Parts of the names of all files, of all patients, and of the input folder."""


@pytest.fixture
def config(phantoms, tmp_path) -> PrepConfig:
    """A preparation of 40 images, whose patients come from a CSV file."""
    root, rows = tmp_path / "WARD-9", ["path,group"]
    for number, path in enumerate(sorted(phantoms.rglob("*.jpeg"))[::2]):
        name = f"{path.parent.name}/SMITH-{number}.jpeg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / name)
        rows.append(f"{name},ID-4711-{number // 2}")
    (root / "NORMAL" / "SMITH-broken.jpeg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "patients.csv").write_text("\n".join(rows))
    return PrepConfig(
        input=str(root),
        output=str(tmp_path / "whole"),
        metadata_csv=str(tmp_path / "patients.csv"),
        image_sizes=(16, 32),
        val_fraction=0.4,
    )


def survivors(config: PrepConfig, folder: Path, num_kills: int, seed: int) -> Iterator[tuple[bool, Path]]:
    """Kills preparations at random moments, and completes each by the same command.

    Args:
        config: the options, but for the output.
        folder: the folder for the outputs.
        num_kills: the number of preparations that are killed.
        seed: the seed of the moments.

    Yields:
        The output of each after the kill, with False, and after the completion, with True.
    """
    moments = random.Random(seed)
    context = multiprocessing.get_context("forkserver")  # a child begins with Beam loaded, and no thread
    context.set_forkserver_preload(["beam_prep.pipeline.graph", "beam_prep.report.dataset_page"])
    longest_s = 0.0
    for number in range(-1, num_kills):
        job = replace(config, output=str(folder / f"killed{number}"))
        begun = time.monotonic()
        process = context.Process(target=prepare, args=(job,))
        process.start()
        if number >= 0:
            process.join(moments.uniform(0, longest_s))
            process.kill()
        process.join()
        longest_s = longest_s or time.monotonic() - begun  # that of the first, which is left alone
        yield False, Path(job.output)
        prepare(job)
        yield True, Path(job.output)


@pytest.mark.slow
@pytest.mark.parametrize("anonymize", [False, True])
def test_the_same_command_ends_with_the_same_bytes_and_nothing_left_names_anybody(
    config, anonymize, tmp_path, monkeypatch
):
    check_kills(config, anonymize, tmp_path, monkeypatch, NUM_KILLS)


def check_kills(config: PrepConfig, anonymize: bool, folder: Path, monkeypatch, num_kills: int) -> None:
    """Checks what `num_kills` killed preparations leave, and what becomes of them."""
    (folder / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder / "temporary"))
    config = replace(config, anonymize=anonymize)
    prepare(config)
    whole = files_of(Path(config.output))
    assert len(whole) > 6
    for is_complete, output in survivors(config, folder, num_kills, seed=int(anonymize)):
        if is_complete:
            assert files_of(output) == whole
            assert {path.name for path in output.iterdir() if path.name.startswith((".", "_"))} == {".inputs"}
        # Without --anonymize the names of files are in records and lists, but never a patient, and no folder above.
        secrets = SECRETS if anonymize else SECRETS[1:]
        for path in (*output.rglob("*"), *(folder / "temporary").rglob("*")):
            assert not any(secret in os.fsencode(path.name) for secret in SECRETS), path
            if path.is_file():
                content = path.read_bytes()
                assert not any(secret in content for secret in secrets), path
