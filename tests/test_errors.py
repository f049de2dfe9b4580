"""A user's mistakes: one clear line each, exit code 2, nothing written."""

import json
import shutil
import subprocess
import sys

import pytest

from beam_prep.config import PrepConfig
from beam_prep.pipeline.local_job import prepare


def refused(result, *said: str) -> None:
    """Exit code 2 and one line on stderr that says all of `said`."""
    lines = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith("loading ")]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for text in said:
        assert text in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["beam_prep", "prepar"], "unknown command prepar; expected one of: synthesize, download, prepare"),
        (["beam_prep", "prepare", "--output", "x"], "--input"),
        (["beam_prep", "prepare", "--input", "/absent", "--output", "x"], "found nothing; check the path"),
        (["beam_prep", "prepare", "--input", "x", "--output", "y", "--image_sizes", "8"], "expected 16 to 4096 px"),
        (["beam_prep", "prepare", "--input", "x", "--output", "y", "--image_sizes", "big"], "--image_sizes"),
        (["beam_prep", "prepare", "--input", "x", "--output", "y", "--val_fraction", "1.5"], "between 0 and 1"),
        (["beam_prep", "prepare", "--input", "x", "--output", "y", "--equalization", "magic"], "hist"),
        (
            ["beam_prep", "prepare", "--input", "s3://bucket/x", "--output", "y"],
            "expected a path of this machine, or gs://",
        ),
        (["beam_prep", "synthesize", "--output", "x", "--num_images", "3"], "num_images is 3"),
        (["beam_prep", "synthesize", "--output", "x", "--image_px", "20"], "at least 64 px"),
        (["beam_prep", "verify", "/absent"], "no such folder"),
        (["beam_prep", "report", "/absent"], "no such folder"),
        (["trainer", "train", "--data", "/absent", "--output", "x"], "no such folder; make one with"),
        (["trainer", "train", "--data", "x", "--output", "y", "--bogus", "3"], "--bogus"),
        (["trainer", "train", "--data", "x", "--output", "y", "--batch_size", "many"], "--batch_size"),
        (["trainer", "train", "--config", "/absent.json"], "/absent.json"),
        (["trainer", "evaluate", "--run", "/absent", "--data", "x"], "expected a finished run"),
        (["trainer", "predict", "--run", "/absent", "x.png"], "expected a finished run"),
        (["trainer", "predict", "--run", "x"], "expected image files or folders, found none"),
        (["trainer", "predict", "x.png"], "--run"),
        (["trainer", "explain", "x.png", "--run", "/absent", "--output", "y"], "expected a finished run"),
        (["trainer", "export", "--run", "/absent", "--output", "y"], "expected a finished run"),
        (["trainer", "evaluate", "--data", "x"], "--run is missing"),
        (["trainer", "evaluate", "--run", "a", "--run", "b", "--data", "x"], "--output is missing"),
        (["trainer", "evaluate", "--run", "a", "--data", "x", "--prevalence", "3"], "between 0 and 1"),
        (["trainer", "train", "--data", "x", "--output", "y", "--threshold_rule", "best"], "expected youden"),
        (["trainer", "compare", "a"], "expected two runs or more to compare, found 1"),
        (["trainer", "compare", "/absent", "/gone"], "expected a finished run"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_a_wrong_command_line(command, arguments, said):
    refused(command(*arguments), said)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--runer=DirectRunner", "unknown option --runer"),
        ("--runner=Bogus", "--runner Bogus: Unexpected pipeline runner"),
        ("--direct_num_workers=two", "invalid int value: 'two'"),
    ],
)
def test_a_wrong_beam_option(command, phantoms, tmp_path, option, said):
    result = command("beam_prep", "prepare", "--input", phantoms, "--output", tmp_path / "out", option)
    refused(result, said)
    assert not (tmp_path / "out").exists()


def test_an_empty_input(command, tmp_path):
    refused(command("beam_prep", "prepare", "--input", tmp_path, "--output", tmp_path.parent / "o"), "found no image")


def test_an_input_of_one_class_only(command, phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "in", ignore=shutil.ignore_patterns("PNEUMONIA"))
    result = command("beam_prep", "prepare", "--input", tmp_path / "in", "--output", tmp_path / "out")
    refused(result, "none of them in a folder PNEUMONIA/")


def test_an_output_that_exists(command, phantoms, dataset, tmp_path):
    refused(command("beam_prep", "prepare", "--input", phantoms, "--output", dataset), "--overwrite")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    flags = ("--image_size", 32, "--batch_size", 8)
    refused(command("trainer", "train", "--data", dataset, "--output", tmp_path / "run", *flags), "--overwrite")
    (tmp_path / "run" / "config.json").rename(tmp_path / "run" / "thesis.doc")
    result = command("trainer", "train", "--data", dataset, "--output", tmp_path / "run", *flags, "--overwrite")
    refused(result, "thesis.doc")
    assert (tmp_path / "run" / "thesis.doc").exists()
    refused(command("beam_prep", "synthesize", "--output", phantoms), "expected an empty or absent folder")


def test_a_size_that_was_not_prepared(command, dataset, tmp_path):
    result = command("trainer", "train", "--data", dataset, "--output", tmp_path / "run", "--image_size", 90)
    refused(result, "90 px is not in the dataset, which holds 32, 96 px", "--image_sizes 90")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_replicas_can_not_share(command, dataset, tmp_path):
    common = ("trainer", "train", "--data", dataset, "--output", tmp_path / "run", "--image_size", 32)
    refused(command(*common, "--batch_size", 1, "--num_replicas", 2), "less than the 2 replicas")
    refused(command(*common, "--batch_size", 7, "--num_replicas", 2), "2 replicas do not divide")
    refused(command(*common, "--batch_size", 4000), "more than the 5")


def test_weights_that_are_not_there(command, dataset, tmp_path):
    common = ("trainer", "train", "--data", dataset, "--output", tmp_path / "run", "--image_size", 32)
    refused(command(*common, "--batch_size", 8, "--arch", "vgg19", "--weights", "/absent.h5"), "found no file")
    assert not (tmp_path / "run").exists()


def test_a_broken_record_is_a_failed_run_that_names_the_shard_check(command, phantoms, tmp_path):
    dataset = tmp_path / "dataset"
    prepare(PrepConfig(input=str(phantoms), output=str(dataset), image_sizes=(32,), num_shards=1))
    shard = next(dataset.glob("size-32/train-*"))
    data = bytearray(shard.read_bytes())
    data[2000] ^= 1
    shard.write_bytes(data)
    flags = ("--image_size", 32, "--batch_size", 8, "--epochs", 1)
    result = command("trainer", "train", "--data", dataset, "--output", tmp_path / "run", *flags)
    assert result.returncode == 1
    assert "error: reading the records failed: " in result.stderr
    assert f"{shard.name}: record 1: checksum does not match" in result.stderr
    assert "cxrflow verify" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["beam_prep", "prepare", "--input", "IN", "--output", "OUT"], "apache_beam", "prep"),
        (["beam_prep", "verify", "gs://bucket/dataset"], "google", "prep"),
        (["trainer", "train", "--data", "DATA", "--output", "OUT", "--image_size", "32"], "tensorflow", "train"),
    ],
)
def test_a_plain_install_says_which_extra_is_missing(phantoms, dataset, tmp_path, arguments, missing, extra):
    places = {"IN": phantoms, "DATA": dataset, "OUT": tmp_path / "out"}
    package, *rest = [str(places.get(argument, argument)) for argument in arguments]
    code = (
        "import runpy, sys\n"
        f"sys.modules[{missing!r}] = None  # as Python finds it where it is not installed\n"
        f"sys.argv = {[package, *rest]!r}\n"
        f"runpy.run_module({package!r}, run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    refused(result, f"{missing} is not installed", f"[{extra}]'")


def test_flags_on_the_command_line_win_over_the_config_file(command, dataset, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"data": str(dataset), "image_size": 77, "batch_size": 8}))
    common = ("trainer", "train", "--config", tmp_path / "c.json", "--output", tmp_path / "run")
    refused(command(*common), "77 px is not in the dataset")
    refused(command(*common, "--image_size", 78), "78 px is not in the dataset")
