"""Commands, links, make targets, files and functions that the documents name exist."""

import ast
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import shell_lines
from rooms import ROOMS

import beam_prep.cli
import cxrflow
import k8s.cli
import trainer.cli
import tuning.cli
from beam_prep.console.command import split_command
from beam_prep.console.help_page import asks_for_help, help_page
from beam_prep.console.parsing import parse

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
TABLES = {
    "cxrflow": {**cxrflow.packaged_commands(), **cxrflow.OWN},
    "cxrflow k8s": k8s.cli.COMMANDS,
    "beam_prep": beam_prep.cli.COMMANDS,
    "trainer": trainer.cli.COMMANDS,
    "tuning": tuning.cli.COMMANDS,
    "k8s": k8s.cli.COMMANDS,
}


def documented_commands() -> list[str]:
    found = set()
    for document in DOCUMENTS:
        lines = (re.split(r"#| \| ", line)[0].strip() for line in shell_lines(document))
        found |= {line for line in lines if "python -m " in line or re.match(r"cxrflow [a-z]", line)}
    return sorted(found)


@pytest.mark.parametrize("line", documented_commands())
def test_every_documented_command_is_understood(line):
    words = shlex.split(line.rpartition("python -m ")[2])
    program = "cxrflow k8s" if words[:2] == ["cxrflow", "k8s"] else words[0]
    if program in TABLES:
        name, flags = split_command(TABLES[program], words[len(program.split()) :])
        if asks_for_help(flags):
            help_page(TABLES[program][name], program, name, flags)
        else:
            parse(TABLES[program][name], program, flags)


def test_commands_are_documented():
    documented = "\n".join(documented_commands()).replace("python -m ", "")
    for program, commands in TABLES.items():
        for name in commands:
            by_word = f"cxrflow {'k8s ' * (program == 'k8s')}{name}"
            assert f"{program} {name}" in documented or by_word in documented or program.startswith("cxrflow")
    assert all(f"cxrflow {name}" in documented for name in cxrflow.OWN)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_project_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_anchor_leads_to_a_heading(document):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
        page = (document.parent / target if target else document).read_text()
        headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
        slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in headings}
        assert anchor in slugs, f"{target}#{anchor}"


def test_the_site_has_every_page_of_its_navigation(tmp_path):
    pages = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    program = runpy.run_path(str(ROOT / "docs/write_site.py"))
    program["write_pages"](tmp_path)
    missing = {page for page in pages if not (tmp_path / page).exists()}
    assert missing == {"docs/reference.md"}
    reference = program["reference"]()
    assert all(f"\n## {name}\n" in reference for name in (*TABLES["cxrflow"], "k8s submit train"))
    assert "| `--rotation_degrees FLOAT` |" in reference


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150, "details belong to the pages in docs/"


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets


def test_architecture_shows_the_rooms_as_their_rules_are(tmp_path):
    page = tmp_path / "page.md"
    shutil.copy(ROOT / "ARCHITECTURE.md", page)
    subprocess.run([sys.executable, ROOT / "docs/architecture/rooms.py", page], check=True)
    assert page.read_text() == (ROOT / "ARCHITECTURE.md").read_text(), "stale; write it again: make architecture"
    assert all("](" + room.place + ")" in page.read_text() for room in ROOMS.values())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_function_that_is_named_exists(document):
    for name, _, function in re.findall(
        r"`((?:beam_prep|trainer|tuning|k8s|tests|docs|benchmarks)/[\w./-]+)(:([\w.]+))?`", document.read_text()
    ):
        assert (ROOT / name).exists(), name
        assert not function or function in defined(ROOT / name), f"{name}:{function}"


def defined(path: Path) -> set[str]:
    """Returns the names of all functions and classes of a module, and of methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names
