"""Commands of one word and of two, and flags that are parsed and written again."""

from dataclasses import dataclass

import pytest

from beam_prep.console.command import Command, split_command
from beam_prep.console.command_line import changed_flags
from beam_prep.console.errors import UsageError
from beam_prep.console.parsing import parse


@dataclass(frozen=True)
class Inner:
    """The config of the inner command."""

    data: str
    """A required flag."""
    sizes: tuple[int, ...] = (90, 224)
    """A flag of several values."""
    rate: float | None = None
    """A flag that may be left out."""
    augment: bool = True
    """A flag that is on by default."""
    overwrite: bool = False
    """A flag that is off by default."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A config that holds another one."""

    inner: Inner
    name: str = "x"
    """A flag of the outer config."""


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (Inner("/d"), ["--data", "/d"]),
        (Inner("/d", sizes=(32,), rate=1e-4), ["--data", "/d", "--sizes", "32", "--rate", "0.0001"]),
        (Inner("/d", augment=False, overwrite=True), ["--data", "/d", "--no_augment", "--overwrite"]),
    ],
)
def test_flags_there_and_back(config, flags):
    assert changed_flags(config) == flags
    assert parse(Command(Inner, print), "test", flags) == (config, [])


def test_a_config_within_a_config_has_its_flags_as_they_are():
    flags = ["--name", "y", "--data", "/d", "--no_augment", "--other", "3"]
    config, more = parse(Command(Outer, print, takes_more=True), "test", flags)
    assert config == Outer(name="y", inner=Inner("/d", augment=False))
    assert more == ["--other", "3"]


def test_a_flag_of_several_values_that_is_repeated_has_all_of_them_and_any_other_its_last():
    flags = ["--sizes", "1", "2", "--data", "d", "--data", "e", "--sizes=3", "--no_augment"]
    assert parse(Command(Inner, print), "test", flags) == (Inner("e", sizes=(1, 2, 3), augment=False), [])
    config, more = parse(Command(Outer, print, takes_more=True), "test", [*flags, "--other", "3"])
    assert (config.inner.sizes, more) == ((1, 2, 3), ["--other", "3"])
    with pytest.raises(UsageError, match="sizes"):
        parse(Command(Inner, print), "test", [*flags, "--sizes", "x"])


def test_commands_of_one_word_and_of_two():
    commands = ("render train", "render sweep", "status")
    assert split_command(commands, ["render", "sweep", "--a", "b"]) == ("render sweep", ["--a", "b"])
    assert split_command(commands, ["status", "sweep"]) == ("status", ["sweep"])
    with pytest.raises(UsageError, match="unknown command render; expected one of: render train, render sweep, status"):
        split_command(commands, ["render", "--a"])
