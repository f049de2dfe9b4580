"""Checkpoint files are loaded whole or refused."""

import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from beam_prep.console.errors import RunError, UsageError
from trainer.training.checkpoint import CheckpointFolder


def arrays(value: float) -> dict[str, list[np.ndarray]]:
    return {"model": [np.full((20, 3), value, np.float32), np.float32(value)], "best": [np.zeros(3)]}


@pytest.fixture
def two_saves(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save({"step": 1}, arrays(1))
    folder.save({"step": 2, "loss_sum": 0.1 + 0.2, "best": float("inf")}, arrays(2))
    return tmp_path


def test_a_checkpoint_is_loaded_bit_for_bit(two_saves):
    checkpoint = CheckpointFolder(two_saves).load()
    assert checkpoint.state == {"step": 2, "loss_sum": 0.1 + 0.2, "best": float("inf")}
    for group, expected in arrays(2).items():
        for one, other in zip(checkpoint.arrays[group], expected, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert CheckpointFolder(tmp_path).load() is None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("00000002-model.npz", "00000002-best.npz") for damage in ("bit", "cut", "gone")),
        ("00000002.json", "bit"),
        ("00000002.json", "cut"),
    ],
)
def test_a_broken_newest_checkpoint_is_skipped_with_a_warning(two_saves, name, damage, caplog):
    break_file(two_saves / name, damage)
    assert CheckpointFolder(two_saves).load().state == {"step": 1}
    assert "checkpoint 2 is broken" in caplog.text


def test_every_flipped_byte_is_detected(two_saves):
    (two_saves / "00000001.json").unlink()
    for path in two_saves.glob("00000002*"):
        whole = path.read_bytes()
        for place in range(0, len(whole), 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(RunError, match="none of the 1 checkpoints can be read"):
                CheckpointFolder(two_saves).load()
        path.write_bytes(whole)
    assert CheckpointFolder(two_saves).load().number == 2


def test_only_broken_checkpoints_are_an_error_that_says_what_to_do(two_saves):
    for number in (1, 2):
        break_file(two_saves / f"0000000{number}.json", "cut")
    with pytest.raises(RunError, match="start anew with --overwrite"):
        CheckpointFolder(two_saves).load()


def test_the_last_two_good_checkpoints_are_kept(two_saves):
    break_file(two_saves / "00000002.json", "bit")
    folder = CheckpointFolder(two_saves)
    folder.load()
    folder.save({"step": 3}, arrays(3))
    assert sorted(path.name for path in two_saves.glob("*.json")) == ["00000001.json", "00000003.json"]
    folder.save({"step": 4}, arrays(4))
    assert sorted(path.name for path in two_saves.glob("*.json")) == ["00000003.json", "00000004.json"]
    assert not list(two_saves.glob("00000001*"))
    break_file(two_saves / "00000004.json", "gone")
    assert CheckpointFolder(two_saves).load().state == {"step": 3}


def test_an_unchanged_group_is_not_written_again(tmp_path):
    folder, best = CheckpointFolder(tmp_path), [np.ones(4)]
    for step in range(4):
        folder.save({"step": step}, {"model": [np.full(2, step)], "best": best})
    assert [path.name for path in tmp_path.glob("*-best.npz")] == ["00000001-best.npz"]
    np.testing.assert_array_equal(CheckpointFolder(tmp_path).load().arrays["best"][0], best[0])


@pytest.mark.parametrize("moment", range(1, 7))
def test_a_kill_at_any_moment_of_a_save_leaves_a_good_checkpoint(tmp_path, moment):
    code = (
        "import os, signal, sys, numpy as np\n"
        "from trainer.training import checkpoint\n"
        "folder = checkpoint.CheckpointFolder(checkpoint.Path(sys.argv[1]))\n"
        "folder.save({'step': 1}, {'model': [np.ones(9)]})\n"
        "count, fsync = 0, os.fsync\n"
        "def killing(descriptor):\n"
        "    global count\n"
        "    count += 1\n"
        f"    if count == {moment}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    fsync(descriptor)\n"
        "os.fsync = killing  # before each file, and each name, is on the disk\n"
        "for step in (2, 3): folder.save({'step': step}, {'model': [np.full(9, step)]})\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    folder = CheckpointFolder(tmp_path)
    checkpoint = folder.load()
    assert checkpoint.state["step"] == {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2}[moment]
    folder.save({"step": 9}, {"model": [np.zeros(9)]})
    assert not list(tmp_path.glob(".*")), "the rest of the killed save is gone"


def test_a_full_disk_is_one_line_and_harms_no_checkpoint(tmp_path):
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from trainer.training.checkpoint import CheckpointFolder, Path\n"
        "folder = CheckpointFolder(Path(sys.argv[1]))\n"
        "folder.save({'step': 1}, {'model': [np.ones(9)]})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails with EFBIG\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "folder.save({'step': 2}, {'model': [np.ones(90_000)]})\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    last = result.stderr.strip().splitlines()[-1]
    assert "RunError" in last
    assert "can't be written: File too large; number 1 is the last good one" in last
    assert {path.name for path in tmp_path.iterdir()} == {"00000001.json", "00000001-model.npz"}
    assert CheckpointFolder(tmp_path).load().state == {"step": 1}


def break_file(path, damage: str) -> None:
    whole = path.read_bytes()
    if damage == "gone":
        os.unlink(path)
    else:
        middle = len(whole) // 2
        path.write_bytes(
            whole[:middle] + (bytes([whole[middle] ^ 4]) + whole[middle + 1 :] if damage == "bit" else b"")
        )


def array_file(header: bytes) -> bytes:
    """Returns a file of `np.savez` whose one array has this header."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("arr_0.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return file.getvalue()


def huge_array() -> bytes:
    """Returns a file of `np.savez` whose one array claims to have 2^50 numbers."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624,), }".ljust(117) + b"\n"
    return array_file(header)


def packed_zeros() -> bytes:
    """Returns a file of 50 KB that unpacks to an array of 50 MB."""
    file = io.BytesIO()
    np.savez_compressed(file, np.zeros(50_000_000, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("../outside.npz", b"", "arrays.model.name: expected a text such as 00000001-model.npz"),
        ("/etc/passwd", b"", "arrays.model.name: expected a text such as 00000001-model.npz"),
        ("00000001-model.npz", huge_array(), "its arrays are larger than the file"),
        ("00000001-model.npz", packed_zeros(), "its arrays are larger than the file"),
        ("00000001-model.npz", b"no zip", "File is not a zip file"),
        ("00000001-model.npz", array_file(b"{'descr': [('a', "), "00000001-model.npz: "),
    ],
)
def test_a_checkpoint_of_a_stranger_reads_no_other_file_and_fills_no_memory(tmp_path, name, content, said, caplog):
    """The stranger has computed the digests anew."""
    (folder := tmp_path / "run").mkdir()
    if content:
        (folder / name).write_bytes(content)
    file = {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
    written = {"format": 1, "number": 1, "state": {}, "arrays": {"model": file}}
    digest = hashlib.sha256(json.dumps(written).encode()).hexdigest()
    (folder / "00000001.json").write_text(json.dumps({"sha256": digest, **written}))
    with pytest.raises(RunError, match="none of the 1 checkpoints can be read"):
        CheckpointFolder(folder).load()
    assert said in caplog.text


def test_a_pipe_in_place_of_arrays_is_not_opened(two_saves):
    path = next(two_saves.glob("00000002-model.npz"))
    path.unlink()
    os.mkfifo(path)
    assert CheckpointFolder(two_saves).load().number == 1


def test_arrays_of_another_run_are_refused_in_one_line(two_saves):
    checkpoint = CheckpointFolder(two_saves).load()
    assert checkpoint.of_group("model", [np.zeros((20, 3)), np.float32(0)]) is checkpoint.arrays["model"]
    assert checkpoint.of_group("best") is checkpoint.arrays["best"]
    for variables in ([np.zeros((20, 3))], [np.zeros((3, 20)), np.float32(0)]):
        with pytest.raises(UsageError, match=r"checkpoint 2 is of another run: expected the model .* other shapes"):
            checkpoint.of_group("model", variables)
    with pytest.raises(UsageError, match="expected the average of this one, found none"):
        checkpoint.of_group("average")
