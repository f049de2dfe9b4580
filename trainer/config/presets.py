"""Named recipes: the flags of `train` that go together, as JSON files in `presets/`. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError

FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class Setting:
    """A flag of a recipe.

    Attributes:
        value: of the flag; None is a value too.
        description: one line, what it does.
    """

    value: Any
    description: str


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes:
        name: of `--preset`.
        description: one line.
        settings: by flag; others are at their defaults.
    """

    name: str
    description: str
    settings: dict[str, Setting]

    @property
    def values(self) -> dict[str, Any]:
        """Flag → value."""
        return {flag: setting.value for flag, setting in self.settings.items()}


def preset_names() -> list[str]:
    """Of all recipes that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_preset(name: str) -> Preset:
    """A recipe by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in preset_names():
        raise UsageError(f"--preset {name}: there is none; expected one of: {', '.join(preset_names())}")
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    settings = {flag: Setting(**setting) for flag, setting in content["settings"].items()}
    return Preset(name, content["description"], settings)
