"""The command line of a finished run, and its flags that differ from their defaults."""

from dataclasses import asdict

from trainer.config.commands import EvaluateConfig, ProbeConfig
from trainer.config.train import TrainConfig
from trainer.run.flags import Flag, command_of, flags_that_differ
from trainer.run.model_card import ModelCard

CARD = ModelCard("vgg19", 90, "hist", ("NORMAL", "PNEUMONIA"), "ab12")


def test_a_run_has_the_command_line_that_made_it():
    trained = TrainConfig(data="set", output="a run", arch="vgg19", external=("one", "two"), augment=False).to_json()
    assert command_of(trained) == (
        "cxrflow train --data set --output 'a run' --arch vgg19 --batch_size 18 --external one two --no_augment"
    )
    together = asdict(EvaluateConfig(run=("a", "b"), data="set", output="both", tta=True))
    assert command_of(together) == "cxrflow evaluate --run a --run b --data set --output both --tta"
    assert command_of(asdict(ProbeConfig(data="set", output="probe", run="a"))).startswith("cxrflow probe --data set")


def test_flags_without_effect_are_said_to_have_none_and_defaults_stand_apart():
    config = TrainConfig(data="set", output="run", unfreeze_layers=3, num_replicas=0, zoom=0.5).to_json()
    differing, others = flags_that_differ(config, CARD)
    assert Flag("unfreeze_layers", "3", "10", "no effect on baseline_cnn") in differing
    assert Flag("num_replicas", "0", "0", "1") in differing
    assert Flag("zoom", "0.5", "0.2") in differing
    assert Flag("epochs", "17", "17") in others
    assert {flag.name for flag in (*differing, *others)} == config.keys()
