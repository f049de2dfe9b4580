"""Presets set flags, and flags given by the user win over them."""

import json
from dataclasses import fields

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.console.parsing import parse
from trainer.cli import COMMANDS
from trainer.config.file import with_config_file
from trainer.config.presets import preset_names, read_preset
from trainer.config.train import TrainConfig
from trainer.run.identity import COMPUTATION, WITHOUT_EFFECT

PLACE = ("--data", "d", "--output", "o")
OF_NO_RECIPE = {
    *WITHOUT_EFFECT,
    # flags that depend on the machine
    *COMPUTATION,
    *("strategy", "num_replicas", "shard_files", "deterministic", "skip_corrupt", "feature_cache"),
    # flags that depend on the use of the run
    *("prevalence", "train_on_val", "fold", "holdout_domain", "evaluate_test", "seed"),
}
STUDY = {
    "arch": "baseline_cnn",
    "image_size": 90,
    "batch_size": 18,
    "epochs": 17,
    "fine_tune_epochs": 17,
    "unfreeze_layers": 10,
    "weights": "imagenet",
    "learning_rate": None,
    "fine_tune_learning_rate": 2e-6,
    "dropout": None,
    "early_stopping_patience": 0,
    "optimizer": "auto",
    "weight_decay": 0.0,
    "clip_norm": None,
    "schedule": "plateau",
    "warmup_epochs": 0.0,
    "plateau_patience": 2,
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "mixup_alpha": 0.0,
    "cutout": 0.0,
    "augment": True,
    "rotation_degrees": 30.0,
    "zoom": 0.2,
    "shift": 0.1,
    "horizontal_flip": True,
    "gamma": 0.0,
    "contrast": 0.0,
    "brightness": 0.0,
    "sharpness": 0.0,
    "local_contrast": 0.0,
    "border": 0.0,
    "downsample": 0.0,
    "noise": 0.0,
    "jpeg_quality": 0,
    "select_by": "val_loss",
    "class_weights": True,
    "sampler": "natural",
    "threshold_rule": "0.5",
    "tta": False,
}


def config_of(*arguments: str) -> TrainConfig:
    config, _ = parse(COMMANDS["train"], "python -m trainer train", with_config_file([*PLACE, *arguments]))
    return config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_used_and_describes_its_settings(name):
    preset = read_preset(name)
    config = config_of("--preset", name)
    assert {flag: getattr(config, flag) for flag in preset.settings} == preset.values
    assert not (OF_NO_RECIPE - {"precision"}) & set(preset.settings), "a recipe may need more than the fastest type"
    for description in (preset.description, *(each.description for each in preset.settings.values())):
        assert description
        assert "\n" not in description


def test_the_preset_of_the_study_sets_all_flags_that_shape_a_model():
    assert read_preset("study").values == STUDY
    shaping = {field.name for field in fields(TrainConfig)} - OF_NO_RECIPE
    assert set(STUDY) == shaping, "a new flag has to be set to what the study did, or to be none of a recipe's"


def test_flags_win_over_the_config_file_and_that_over_the_preset(tmp_path):
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"epochs": 9, "optimizer": "sgd", "learning_rate": None, "augment": False}))
    flags = ("--config", str(file), "--epochs", "5")
    config = config_of("--preset=best", *flags)
    assert config == config_of(*flags, "--preset", "best"), "in whatever order"
    assert (config.epochs, config.optimizer, config.learning_rate, config.augment) == (5, "sgd", None, False)
    assert (config.batch_size, config.schedule) == (32, "cosine")
    assert "preset" not in config.to_json(), "the flags themselves are kept"


def test_of_several_presets_the_last_is_taken():
    assert config_of("--preset", "study", "--preset=fast") == config_of("--preset", "fast")


def test_both_spellings_of_a_precision_win_over_the_preset(tmp_path):
    file = tmp_path / "flags.json"
    file.write_text('{"mixed_precision": true}')
    spellings = (("--mixed_precision",), ("--mixed-precision",), ("--precision", "bfloat16"), ("--config", str(file)))
    for spelling in spellings:
        assert config_of("--preset", "best", *spelling).precision == "bfloat16"


@pytest.mark.parametrize("saved", [{"mixed_precision": True}, {"precision": "float32", "mixed_precision": False}])
def test_both_spellings_of_a_precision_win_over_the_config_file(tmp_path, saved):
    file = tmp_path / "flags.json"
    file.write_text(json.dumps(saved))
    for value, *spelling in (("bfloat16", "--mixed_precision"), ("float32", "--precision", "float32")):
        assert config_of("--config", str(file), *spelling).precision == value


def test_the_config_of_a_run_repeats_it_whatever_the_preset(tmp_path):
    file, config = tmp_path / "config.json", config_of("--dropout", "0.3", "--external", "one", "other")
    file.write_text(json.dumps(config.to_json()))
    assert config_of("--preset", "best", "--config", str(file)).to_json() == config.to_json()


def test_sets_on_the_command_line_take_the_place_of_those_in_a_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"external": ["one", "other"], "epochs": 3}')
    assert config_of("--config", str(file)).external == ("one", "other")
    assert config_of("--config", str(file), "--external", "third").external == ("third",)


@pytest.mark.parametrize("flags", [{"epochs": [1, "--overwrite"]}, {"external": ["x", "--overwrite"]}])
def test_no_value_of_a_file_becomes_a_flag_of_its_own(tmp_path, flags):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(flags))
    with pytest.raises(UsageError, match=f"--config .*: {next(iter(flags))}"):
        config_of("--config", str(file))


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="--preset bst is unknown; expected one of: best, fast, study"):
        config_of("--preset", "bst")
    with pytest.raises(UsageError, match="preset"):
        config_of("--preset")


def test_presets_are_shown(capsys):
    COMMANDS["presets"].run(COMMANDS["presets"].config())
    shown = capsys.readouterr().out
    assert "study: What the study trained with" in shown
    rows = [line.split()[:2] for line in shown.splitlines()]
    for row in (["--schedule", "cosine"], ["--arch", "se_resnet_small"], ["--threshold_rule", "sensitivity=0.9"]):
        assert row in rows, "also the longest value stands apart from its description"
    assert "prepare --input IMAGES --output DATASET --image_sizes 64 --equalization hist" in shown, "what it needs"
