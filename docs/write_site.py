"""Writes the sources of the documentation site: the pages of the repository, and a reference of all commands.

Run as `make docs`, which then has Zensical build the site of `mkdocs.yml` from them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cxrflow
import k8s.cli
from beam_prep.console.command import Command, Flag, flags_of

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build/site/source"

NOTEBOOKS = [*ROOT.glob("docs/notebooks/*.ipynb")]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *NOTEBOOKS]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")
"""A link to a file of the repository: a mark of images, its text, its target and its anchor."""


def write_pages(target: Path) -> None:
    """Copies the pages and the files that they show; a link to anything else becomes plain text."""
    for page in PAGES:
        text = LINK.sub(lambda match, page=page: _link(match, page, target), _text_of(page))
        place = (target / page.relative_to(ROOT)).with_suffix(".md")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _text_of(page: Path) -> str:
    """Returns the Markdown of a page; that of a notebook has its code in fences."""
    text = page.read_text(encoding="utf-8")
    if page not in NOTEBOOKS:
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    parts = [f"```python\n{source}\n```" if kind == "code" else source for kind, source in cells]
    return "\n\n".join([*parts, f"This page is the notebook `{page.relative_to(ROOT)}` of the repository."]) + "\n"


def _link(match: re.Match[str], page: Path, target: Path) -> str:
    image, text, name, _ = match.groups()
    file = (page.parent / name).resolve()
    if file in PAGES:
        return match[0].replace(".ipynb", ".md")
    if not image or not file.is_file():
        return text
    copy = target / file.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, copy)
    return match[0]


def reference() -> str:
    """Returns the page of all commands with all flags, in groups."""
    of_cluster = {f"k8s {name}": command for name, command in k8s.cli.COMMANDS.items()}
    commands = {**cxrflow.packaged_commands(), **cxrflow.OWN, **of_cluster}
    head = "# All commands and flags\n\nMade from the configs that parse the flags; `--help all` says the same."
    return "\n\n".join([head, *(_section(name, command) for name, command in commands.items())]) + "\n"


def _section(name: str, command: Command) -> str:
    parts = [f"## {name}", re.sub(r"\n *", "\n", (command.config.__doc__ or "").strip())]
    if command.examples:
        parts.append("```bash\n" + "\n".join(f"cxrflow {example}" for example in command.examples) + "\n```")
    flags = flags_of(command)
    for group in dict.fromkeys(flag.group for flag in flags):
        rows = _rows([flag for flag in flags if flag.group == group])
        parts.append("\n".join([f"| {group} | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _rows(flags: list[Flag]) -> Iterator[str]:
    for flag in flags:
        default = "" if flag.default in (None, (), "") or flag.default is False else f" Default: `{flag.default}`."
        needed = " Required." if flag.is_required else default
        choices = f" One of: {', '.join(flag.choices)}." if flag.values.startswith("NAME") else ""
        cells = (f"`{flag.spelling}`", f"{flag.help}{choices}{needed}")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    shutil.rmtree(TARGET, ignore_errors=True)
    write_pages(TARGET)
    (TARGET / "docs/reference.md").write_text(reference(), encoding="utf-8")
