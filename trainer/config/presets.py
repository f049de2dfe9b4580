"""Reads presets: recipes of flags of `train`, as JSON files in `presets/`. Standard library only.

A preset that is `based_on` another one holds only the settings in which it differs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError

FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class Setting:
    """A flag of a preset with its value.

    Attributes:
        value: value of the flag; None is a value too.
        description: one line that says what the setting does.
    """

    value: Any
    description: str


@dataclass(frozen=True)
class Preset:
    """A named recipe.

    Attributes:
        name: value of `--preset`.
        description: one line that says what the recipe is for.
        settings: settings by flag; all other flags keep their defaults.
        equalization: the equalization of the images that the recipe was measured on.
    """

    name: str
    description: str
    settings: dict[str, Setting]
    equalization: str

    @property
    def values(self) -> dict[str, Any]:
        """The values by flag."""
        return {flag: setting.value for flag, setting in self.settings.items()}


def preset_names() -> list[str]:
    """Returns the names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_preset(name: str) -> Preset:
    """Reads a preset by its name.

    Raises:
        UsageError: no preset has this name.
    """
    if name not in preset_names():
        raise UsageError(f"--preset {name} is unknown; expected one of: {', '.join(preset_names())}")
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    settings = {flag: Setting(**setting) for flag, setting in content["settings"].items()}
    if "based_on" in content:
        settings = read_preset(content["based_on"]).settings | settings
    return Preset(name, content["description"], settings, content["equalization"])


def preparation(image_size: int, equalization: str) -> str:
    """Returns the command that prepares images for a recipe."""
    return f"cxrflow prepare --input IMAGES --output DATASET --image_sizes {image_size} --equalization {equalization}"
