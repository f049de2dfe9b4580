"""What the documents say exists."""

import re
import shlex
from pathlib import Path

import pytest
from documents import shell_lines

import beam_prep.cli
import k8s.cli
import trainer.cli
import tuning.cli
from beam_prep.console.command_line import parse, split_command

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
TABLES = {
    "beam_prep": beam_prep.cli.COMMANDS,
    "trainer": trainer.cli.COMMANDS,
    "tuning": tuning.cli.COMMANDS,
    "k8s": k8s.cli.COMMANDS,
}


def documented_commands() -> list[str]:
    found = set()
    for document in DOCUMENTS:
        found |= {re.split(r"#| \| ", line)[0].strip() for line in shell_lines(document) if "python -m " in line}
    return sorted(found)


@pytest.mark.parametrize("line", documented_commands())
def test_every_documented_command_is_understood(line):
    words = shlex.split(line[line.index("python -m ") + len("python -m ") :])
    if words[0] in TABLES:
        name, flags = split_command(TABLES[words[0]], words[1:])
        parse(TABLES[words[0]][name], "python -m …", flags)


def test_commands_are_documented():
    documented = "\n".join(documented_commands())
    for package, commands in TABLES.items():
        for name in commands:
            assert f"python -m {package} {name}" in documented


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets


def test_architecture_fits_on_a_page_and_names_every_module():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(text.splitlines()) <= 120
    for package in TABLES:
        for module in (ROOT / package).glob("*.py"):
            if not module.name.startswith("__"):
                assert module.name in text, f"{package}/{module.name}"
