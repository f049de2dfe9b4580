"""The code keeps to the house style of CONTRIBUTING.md, as far as a program can tell."""

import ast
import re
from collections.abc import Iterator

import pytest
import yaml
from rooms import PACKAGES, ROOT

FOLDERS = [*PACKAGES, "tests", "benchmarks", "docs"]
# A docstring that begins with one of these words names no subject, so that it has to be decoded.
FRAGMENT = re.compile(
    r"(As|Of|Those|That of|What|How|Whether|From|In|To|By|Where|With|On|For|If|Which|Who|When|At|It|Its|Their|One|Each"
    r"|All|Also|And|Once|Because|So|Like|Such|No|Not|None|Others?|Same|Only|Most|Least|More|Less|Before|After|Until"
    r"|Between|Out|Off)\b"
)


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """Yields the path and the syntax tree of each module of a folder."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def strings_that_document(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yields the docstrings of modules, classes and functions, and the strings below fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield statement.value


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_as_a_fragment(folder):
    fragments = [
        f"{path}:{string.lineno}: {string.value.strip().splitlines()[0]}"
        for path, tree in modules(folder)
        for string in strings_that_document(tree)
        if isinstance(string.value, str) and FRAGMENT.match(string.value.strip())
    ]
    assert fragments == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_of_the_project_is_imported_under_another_name(folder):
    renamed = [
        f"{path}:{node.lineno}: {alias.name} as {alias.asname}"
        for path, tree in modules(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname and (getattr(node, "module", None) or alias.name).partition(".")[0] in PACKAGES
    ]
    assert renamed == []


def test_pre_commit_runs_the_commands_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe is not None
    assert [hook["entry"] for hook in hooks] == recipe[1].replace("$(BIN)", ".venv/bin").replace("\t", "").splitlines()
