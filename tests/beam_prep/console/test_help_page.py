"""The help of every command: its flags in groups, in 80 columns, and the same flags that are parsed."""

import re
import shlex
import subprocess
import sys

import pytest
import tyro

import beam_prep.cli
import cxrflow
import k8s.cli
import trainer.cli
import tuning.cli
from beam_prep.console.command import flags_of, main_flags
from beam_prep.console.errors import UsageError
from beam_prep.console.help_page import WIDTH, command_list, help_page
from beam_prep.console.parsing import parse

TABLES = {cli.__package__: cli.COMMANDS for cli in (beam_prep.cli, trainer.cli, tuning.cli, k8s.cli)}
ALL = {f"{package} {name}": command for package, table in TABLES.items() for name, command in table.items()}
ALL |= {f"cxrflow {name}": command for name, command in cxrflow.OWN.items()}


@pytest.mark.parametrize("name", ALL)
def test_every_flag_is_explained_and_no_line_is_too_long(name):
    command = ALL[name]
    short, full = (help_page(command, "cxrflow", name.partition(" ")[2], [*flags]) for flags in (["-h"], ["-h", "all"]))
    assert max(map(len, short.splitlines())) <= WIDTH
    assert max(map(len, full.splitlines())) <= WIDTH
    for flag in flags_of(command):
        assert flag.help, flag.name
        assert f"  {flag.spelling}" in full
        assert flag.is_positional or f"--{flag.name}" in short
    assert len(short.splitlines()) <= 90, "the rest belongs to --help all"


@pytest.mark.parametrize("name", ALL)
def test_the_help_names_the_flags_that_are_parsed(name, capsys):
    with pytest.raises(SystemExit):
        tyro.cli(ALL[name].config, args=["--help"], use_underscores=True, config=(tyro.conf.OmitArgPrefixes,))
    parsed = set(re.findall(r"^[│ ] *(?:--)?(\w+)", capsys.readouterr().out, flags=re.MULTILINE))
    assert {flag.name for flag in flags_of(ALL[name])} <= parsed


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not name.startswith("k8s")])
def test_the_examples_are_understood(name):
    assert ALL[name].examples
    for example in ALL[name].examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[0] == name.split()[1]
        assert len(f"  cxrflow {example}") <= WIDTH
        parse(ALL[name], "test", words[1:])


def test_the_main_flags_exist_and_are_about_ten():
    for name in ("beam_prep prepare", "trainer train", "tuning search"):
        main = main_flags(ALL[name].config)
        assert set(main) <= {flag.name for flag in flags_of(ALL[name])}
        assert len(main) == 10
    assert "data" in main_flags(ALL["k8s submit train"].config), "a submission has the flags of its program"


def test_the_groups_of_train_come_in_order():
    groups = list(dict.fromkeys(flag.group for flag in flags_of(ALL["trainer train"])))
    assert groups == ["data", "network", "optimization", "augmentation", "devices", "evaluation", "files"]
    augmentation = help_page(ALL["trainer train"], "cxrflow", "train", ["--help", "augmentation"])
    assert "--rotation_degrees FLOAT" in augmentation
    assert "--epochs" not in augmentation
    with pytest.raises(UsageError, match=r"expected all or one of: data, network"):
        help_page(ALL["trainer train"], "cxrflow", "train", ["--help", "weather"])
    assert help_page(ALL["trainer train"], "x", "train", ["--help_all"]).count("--seed INT") == 1


def test_a_list_of_commands_fits_the_console():
    summaries = {name: command.config.__doc__ or "" for name, command in ALL.items()}
    assert max(map(len, command_list("cxrflow", "A program.", summaries).splitlines())) <= WIDTH


def test_help_is_a_result_and_takes_no_flag():
    line = [sys.executable, "-m", "trainer", "train", "--help", "evaluation"]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.startswith("usage: python -m trainer train --data TEXT --output TEXT [--flag value …]\n")
