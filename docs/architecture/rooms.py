"""Reads `rooms.toml`, the rules of the rooms, and writes the diagrams and tables of ARCHITECTURE.md from it.

Run as `make architecture`, or `python docs/architecture/rooms.py [PAGE]`.
"""

import re
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RULES = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text())
LIBRARIES: dict[str, list[str]] = RULES["libraries"]


@dataclass(frozen=True)
class Room:
    """The rules of a room or of a whole package; for the attributes, see `rooms.toml`."""

    name: str
    holds: str
    imports: Sequence[str] = ()
    never: Sequence[str] = ()

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def forbidden(self) -> set[str]:
        """The libraries that must not be loaded, without the names of their groups."""
        return {library for name in self.never for library in LIBRARIES.get(name, [name])}

    @property
    def place(self) -> str:
        """The folder or the module of the room."""
        path = self.name.replace(".", "/")
        return f"{path}/" if (ROOT / path).is_dir() else f"{path}.py"


_TABLES = [Room(name, **rules) for name, rules in RULES.items() if name != "libraries"]
PACKAGES = {table.name: table for table in _TABLES if table.place == f"{table.package}/"}
ROOMS = {table.name: table for table in _TABLES if table.name not in PACKAGES}


def floors(package: str) -> list[list[str]]:
    """Returns the rooms of a package by floor, the topmost first: a room imports only rooms of the floors below."""
    below = {
        name: [target for target in room.imports if ROOMS[target].package == package]
        for name, room in ROOMS.items()
        if room.package == package
    }
    height: dict[str, int] = {}
    for name in TopologicalSorter(below).static_order():
        height[name] = max((height[target] + 1 for target in below[name]), default=0)
    return [[name for name in below if height[name] == floor] for floor in range(max(height.values()), -1, -1)]


def section(package: str) -> str:
    """Returns the diagram and the table of a package as Markdown."""
    diagram = "\n   ↓\n".join("   ".join(_short(name, package) for name in floor) for floor in floors(package))
    rows = ["| room | holds | may import | must not load |", "|---|---|---|---|"]
    for room in ROOMS.values():
        if room.package == package:
            name = f"[`{_short(room.name, package)}`]({room.place})"
            imports = ", ".join(f"`{_short(target, package)}`" for target in room.imports)
            never = ", ".join(f"`{library}`" for library in room.never)
            rows.append(f"| {name} | {room.holds} | {imports} | {never} |")
    never = ", ".join(f"`{name}`" for name in PACKAGES[package].never)
    summary = f"{PACKAGES[package].holds} The package as a whole must not load {never}."
    return f"{textwrap.fill(summary, 120)}\n\n```text\n{diagram}\n```\n\n" + "\n".join(rows)


def _short(name: str, package: str) -> str:
    return name.removeprefix(f"{package}.")


def fill(page: str) -> str:
    """Returns the page with new text between its markers `<!-- rooms of PACKAGE -->` and `<!-- end -->`."""
    return re.sub(
        r"(<!-- rooms of (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n{section(match[2])}\n\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "ARCHITECTURE.md"
    target.write_text(fill(target.read_text()))
