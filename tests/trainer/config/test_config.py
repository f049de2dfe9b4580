"""Wrong flags are refused, and a config file gives the flags of a run."""

import json
from functools import partial

import pytest

from beam_prep.console.command import Command
from beam_prep.console.errors import UsageError
from beam_prep.console.parsing import parse
from trainer.config.commands import EvaluateConfig, PredictConfig, ProbeConfig, RecalibrateConfig
from trainer.config.file import flags_from_file
from trainer.config.train import TrainConfig


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"batch_size": 0}, "--batch_size is 0"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"zoom": 1.0}, "--zoom is 1.0"),
        ({"border": 0.6}, "--border is 0.6; expected 0.5 at most"),
        ({"jpeg_quality": 101}, "--jpeg_quality is 101; expected 100 at most"),
        ({"learning_rate": 0.0}, "--learning_rate is 0.0"),
        ({"learning_rate": -1e-3}, "--learning_rate"),
        ({"arch": "inception_resnet_v2", "image_size": 74}, "needs at least 75 px"),
        ({"arch": "vgg19", "image_size": 31}, "needs at least 32 px"),
        ({"batch_size": 2, "num_replicas": 4}, "less than the 4 replicas"),
        ({"batch_size": 18, "num_replicas": 4}, "4 replicas do not divide; try 16"),
        ({"strategy": "none", "num_replicas": 2}, "--strategy none runs one replica"),
        ({"dropout": 1.0}, "--dropout is 1.0; expected a rate from 0 to less than 1"),
        ({"early_stopping_patience": -1}, "--early_stopping_patience is -1"),
        ({"train_on_val": True, "threshold_rule": "youden"}, "no images to choose --threshold_rule youden on"),
        ({"train_on_val": True, "early_stopping_patience": 2}, "needs validation images"),
        ({"train_on_val": True, "select_by": "val_auroc"}, "--select_by val_auroc needs validation images"),
        ({"train_on_val": True, "evaluate_test": False}, "leaves nothing to evaluate on"),
        ({"train_on_val": True, "fold": "1/5"}, "leaves nothing to validate --fold 1/5 on"),
        ({"sampler": "balanced", "shard_files": True}, "draws from all shards"),
    ],
)
def test_a_wrong_value_is_refused_with_its_flag(flags, said):
    with pytest.raises(UsageError, match=said):
        TrainConfig(data="d", output="o", **flags)


@pytest.mark.parametrize(
    "make",
    [
        partial(EvaluateConfig, run=("a",), data="d"),
        partial(RecalibrateConfig, run="a", data="d"),
        partial(ProbeConfig, arch="vgg19", data="d", output="o"),
        partial(PredictConfig, run="a", files=("b.png",)),
    ],
)
def test_a_batch_has_an_image_at_least(make):
    assert make(batch_size=1).batch_size == 1
    with pytest.raises(UsageError, match="--batch_size is 0; expected at least 1"):
        make(batch_size=0)


def test_defaults_are_the_settings_of_the_study():
    config = TrainConfig(data="d", output="o")
    assert (config.image_size, config.global_batch_size, config.epochs, config.fine_tune_epochs) == (90, 18, 17, 17)
    assert (config.rotation_degrees, config.zoom, config.shift, config.horizontal_flip) == (30, 0.2, 0.1, True)
    assert (config.unfreeze_layers, config.fine_tune_learning_rate, config.plateau_patience) == (10, 2e-6, 2)


def test_a_saved_config_gives_its_flags_again(tmp_path):
    config = TrainConfig(data="d", output="o", augment=False, learning_rate=3e-4)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_json()))
    flags = flags_from_file(str(path))
    assert "--no_augment" in flags
    assert flags[flags.index("--learning_rate") + 1] == "0.0003"
    assert "--config" not in flags


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected an object"),
        ("{", "expected JSON, found something else"),
        ('{"epoch": 3}', "unknown flag epoch"),
        ('{"epochs": [3, "--overwrite"]}', "epochs: expected a finite number, a text"),
        ('{"weights": "--overwrite"}', "weights: expected a text such as imagenet"),
        ('{"learning_rate": NaN}', "learning_rate: expected a finite number"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_config_file_is_refused(tmp_path, text, said):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        flags_from_file(str(tmp_path / "c.json"))


def test_a_config_file_may_be_yaml(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "# a comment\nlearning_rate: 1e-4\naugment: no\nepochs: 3\nexternal: [a, b]\nfold: null\njit_compile: on\n"
    )
    flags = flags_from_file(str(tmp_path / "c.yaml"))
    config, _ = parse(Command(TrainConfig, run=print), "train", ["--data", "d", "--output", "o", *flags])
    assert (config.learning_rate, config.augment, config.epochs, config.external) == (1e-4, False, 3, ("a", "b"))
    assert (config.fold, config.jit_compile) == (None, "on")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected an object"),
        ("", "expected an object"),
        ("epochs: [", "not YAML"),
        ("weights: 2026-02-31", "not YAML"),
        ("weights: --overwrite", "weights: expected a text such as imagenet"),
        ("epoch: 3", "unknown flag epoch"),
        ("!!python/object/apply:os.system [true]", "not YAML"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}", "not YAML.*no merge key"),
        ("epochs: " + "1:" * 2000 + "1", "epochs: expected a number of at most 300 digits"),
        ("epochs: 0x" + "f" * 9000, "epochs: expected a number of at most 300 digits"),
        ("#" * 2**18 + "\na: 1", "expected at most 262144 bytes"),
    ],
)
def test_a_broken_yaml_file_is_refused(tmp_path, text, said):
    (tmp_path / "c.yml").write_text(text)
    with pytest.raises(UsageError, match=said):
        flags_from_file(str(tmp_path / "c.yml"))


def test_a_missing_config_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        flags_from_file(str(tmp_path / "absent.json"))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--jit_compile"], "on"),
        (["--jit_compile", "--augment"], "on"),
        (["--jit_compile", "auto"], "auto"),
        (["--jit_compile=off"], "off"),
        (["--no_jit_compile"], "off"),
        (["--no-jit-compile"], "off"),
        (["--jit-compile", "--epochs", "3"], "on"),
        ([], "auto"),
    ],
)
def test_a_switch_without_a_value_is_on(arguments, value):
    config, _ = parse(Command(TrainConfig, run=print), "train", ["--data", "d", "--output", "o", *arguments])
    assert config.jit_compile == value


def test_truth_values_in_the_config_of_an_older_run_are_flags(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"jit_compile": False, "mixed_precision": False}))
    assert flags_from_file(str(file)) == ["--no_jit_compile", "--no_mixed_precision", "--precision", "float32"]
    file.write_text(json.dumps({"jit_compile": True, "mixed_precision": True}))
    assert flags_from_file(str(file)) == ["--jit_compile", "--mixed_precision"]
