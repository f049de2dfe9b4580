"""The search space, and the flags and files that narrow it."""

import pytest
from searches import make_job

from beam_prep.console.errors import UsageError
from tuning.config import SearchConfig
from tuning.trials.search_space import Choice, Range, resolve_space

SIZES = (64, 90, 128)


def space(arch: str = "baseline_cnn", equalizations: tuple[str, ...] = ("hist",), **flags):
    return resolve_space(SearchConfig(data=("D",), output="S", **flags), arch, SIZES, equalizations)


def test_by_default_image_sizes_and_batch_sizes_are_searched():
    assert space().parameters == (Choice("image_size", SIZES), Choice("batch_size", (16, 32, 64)))
    assert [each.name for each in space("vgg19").varied] == ["image_size", "batch_size", "unfreeze_layers"]
    assert space(equalizations=("hist", "clahe")).varied[-1] == Choice("equalization", ("hist", "clahe"))


def test_the_command_line_narrows_fixes_and_adds():
    found = space(image_size=("90",), batch_size=("18", "36"), learning_rate=("1e-5:1e-2",), dropout=("0.2:0.5",))
    assert found.fixed == {"image_size": 90}
    assert found.varied == (
        Choice("batch_size", (18, 36)),
        Range("learning_rate", 1e-5, 1e-2, "log"),
        Range("dropout", 0.2, 0.5, "linear"),
    )
    assert space(learning_rate=("1e-4", "1e-3")).varied[-1] == Choice("learning_rate", (1e-4, 1e-3))


def test_a_yaml_file_defines_the_space_and_the_command_line_wins(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("image_size: [64, 128]\nbatch_size: 18\nlearning_rate: 1e-5:1e-2\ndropout: 0:0.5\n")
    found = space(space=str(path), image_size=("90", "128"))
    assert found.parameters == (
        Choice("image_size", (90, 128)),
        Choice("batch_size", (18,)),
        Range("learning_rate", 1e-5, 1e-2, "log"),
        Range("dropout", 0.0, 0.5, "linear"),
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"image_size": ("big",)}, "--image_size big: expected whole numbers"),
        ({"image_size": ("64:128",)}, "--image_size 64:128: expected values, found a range"),
        ({"batch_size": ("16", "16")}, "expected values that differ"),
        ({"learning_rate": ("1e-2:1e-5",)}, "LOW less than HIGH"),
        ({"learning_rate": ("0:1e-2",)}, "above 0"),
        ({"learning_rate": ("1e-5:1e-3", "1e-2")}, "or one range such as 1e-5:1e-2"),
        ({"learning_rate": ("1e-5:1e-2",), "algorithm": "grid"}, "which a range has no end of"),
        ({"unfreeze_layers": ("5",)}, "applies to vgg19, inception_resnet_v2 only; found --arch baseline_cnn"),
        ({"space": "absent.yaml"}, "--space absent.yaml: No such file"),
    ],
)
def test_values_that_can_not_be_searched_are_refused(flags, said):
    with pytest.raises(UsageError, match=said):
        space(**flags)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[1]", "found no names"), ("a: {", "not YAML"), ("epochs: 3", "unknown epochs; expected some of")],
)
def test_a_wrong_yaml_file_is_refused(tmp_path, text, said):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        space(space=str(tmp_path / "s.yaml"))


def test_combinations_that_can_not_be_trained_are_known_beforehand():
    job = make_job(train={"arch": "inception_resnet_v2", "num_replicas": 4}, batch_size=("18", "32", "300"))
    assert [values["batch_size"] for values in job.trainable] == [32] * 6
    assert {values["image_size"] for values in job.trainable} == {90, 128}
    reasons = {reason: len(bad) for reason, bad in job.untrainable.items()}
    assert reasons["--image_size is 64; inception_resnet_v2 needs at least 75 px"] == 9
    assert reasons["--batch_size is 18, which 4 replicas do not divide; try 16"] == 6
    assert reasons["--batch_size is 300, more than the 200 training images"] == 6


def test_a_short_trial_of_hyperband_trains_the_first_epochs_of_both_phases():
    job = make_job(train={"arch": "vgg19", "epochs": 4, "fine_tune_epochs": 5})
    assert job.max_epochs == 9
    lengths = []
    for epochs in (1, 4, 6, 9):
        config = job.train_config({"tuner/epochs": epochs, "unfreeze_layers": 5}, "R")
        lengths.append((config.epochs, config.fine_tune_epochs))
    assert lengths == [(1, 0), (4, 0), (4, 2), (4, 5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dropout: [[0.1], [0.2]]", "dropout: expected at most 1000 values or one range"),
        ("dropout: {a: 1}", "dropout: expected at most 1000 values or one range"),
        (f"dropout: [{'0.1, ' * 2000}0.2]", "dropout: expected at most 1000 values or one range"),
        ("dropout: [&a [x, x], *a, &b [*a, *a], *b]", "dropout: expected at most 1000 values or one range"),
        ("x" * (2**18 + 1), "expected at most 262144 bytes, found 262145"),
        ("[" * 100_000, "not YAML"),
        ("dropout: !!python/object/apply:os.system [id]", "dropout id: expected numbers or one range"),
    ],
)
def test_a_yaml_file_of_a_stranger_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        space(space=str(tmp_path / "space.yaml"))
    assert "\n" not in str(error.value)
