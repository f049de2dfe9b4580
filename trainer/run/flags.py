"""Tells which flags of a finished run differ from their defaults, what they came to, and its command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from beam_prep.console.command_line import recorded_flags, shown_command
from trainer.config.commands import EvaluateConfig, ProbeConfig
from trainer.config.train import FROM_SCRATCH, TrainConfig
from trainer.config.train_flags import DEFAULT_BATCH_SIZE
from trainer.run.model_card import ModelCard

COMMANDS: dict[str, type] = {"train": TrainConfig, "probe": ProbeConfig, "evaluate": EvaluateConfig}
"""The commands that make a run, with the dataclass of their flags."""
OF_PRETRAINED = ("fine_tune_epochs", "unfreeze_layers", "weights", "fine_tune_learning_rate", "feature_cache")
"""The flags of `train` without an effect on a network that has no pretrained weights."""


class Flag(NamedTuple):
    """A flag of a run.

    Attributes:
        name: the name of the flag.
        value: its value in words.
        default: its default in words; an empty text where there is none.
        effect: what the value came to in this run, where it left that open; else an empty text.
    """

    name: str
    value: str
    default: str
    effect: str = ""


def command_of(config: Mapping[str, Any]) -> str:
    """Returns the command line that made a run, from its `config.json`."""
    command, others = _command(config), dict(config)
    runs = others.pop("run", []) if command == "evaluate" else []  # the flag stands once for each run
    repeated = [word for run in runs for word in ("--run", str(run))]
    return shown_command(command, *repeated, *recorded_flags(COMMANDS[command], others))


def flags_that_differ(config: Mapping[str, Any], card: ModelCard) -> tuple[list[Flag], list[Flag]]:
    """Divides the flags of a run into those that say how it was made and all others.

    Args:
        config: the content of `config.json`.
        card: the model card of the run.

    Returns:
        The flags that differ from their default, or that left their value to the program, which is known; and the flags
        at their default.
    """
    defaults = {field.name: field.default for field in fields(COMMANDS[_command(config)])}
    effects = _effects(config, card)
    differing: list[Flag] = []
    others: list[Flag] = []
    for name, value in config.items():
        default = DEFAULT_BATCH_SIZE if name == "batch_size" and _command(config) == "train" else defaults.get(name)
        has_default = isinstance(default, (str, int, float, tuple, type(None))) and name in defaults
        is_default = has_default and (tuple(value) if isinstance(value, list) else value) == default
        flag = Flag(name, as_text(value), as_text(default) if has_default else "", effects.get(name, ""))
        (others if is_default and not flag.effect else differing).append(flag)
    return differing, others


def as_text(value: Any) -> str:
    """Returns the value of a flag in words."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(as_text, value)) or "none"
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value)


def _command(config: Mapping[str, Any]) -> str:
    """Returns the command whose flags a config has: the one that most of its names are of."""
    return max(COMMANDS, key=lambda command: len({field.name for field in fields(COMMANDS[command])} & config.keys()))


def _effects(config: Mapping[str, Any], card: ModelCard) -> dict[str, str]:
    """Returns what the flags of a training came to that leave the choice to the program, and those without effect."""
    if _command(config) != "train":
        return {}
    effects = {}
    if config.get("precision") == "auto" and card.precision:
        effects["precision"] = card.precision
    if config.get("jit_compile") == "auto" and card.jit_compile is not None:
        effects["jit_compile"] = "on" if card.jit_compile else "off"
    if config.get("num_replicas") == 0:
        effects["num_replicas"] = str(card.num_replicas)
    phases = [phase for phase in card.phases if "optimizer" in phase]  # older runs do not tell
    if config.get("optimizer") == "auto" and phases:
        effects["optimizer"] = ", then ".join(dict.fromkeys(phase["optimizer"] for phase in phases))
    if config.get("learning_rate") is None and phases:
        effects["learning_rate"] = f"{phases[0]['learning_rate']:g}"
    if config.get("arch") in FROM_SCRATCH:
        changed = {name for name in OF_PRETRAINED if config.get(name) != getattr(TrainConfig, name)}
        effects |= dict.fromkeys(changed & config.keys(), f"no effect on {config['arch']}")
    return effects
