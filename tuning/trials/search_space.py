"""What is searched: the one place where the hyperparameters are declared, and how they are narrowed.

Standard library only; PyYAML and KerasTuner load on use.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from beam_prep.console.errors import UsageError
from trainer.config.train import FROM_SCRATCH
from trainer.config.train_flags import Arch
from tuning.config import SearchConfig

if TYPE_CHECKING:
    import keras_tuner

TRANSFER = tuple(arch for arch in get_args(Arch) if arch not in FROM_SCRATCH)


@dataclass(frozen=True)
class Declared:
    """A flag of `trainer train` that can be searched.

    Attributes:
        name: of the flag.
        kind: of its values.
        choices: searched if nothing else is said; empty: it is not searched then.
        scale: how a range of it is drawn; None: it takes no range.
        archs: the networks that it matters to; empty: all.
    """

    name: str
    kind: type
    choices: tuple[int, ...] = ()
    scale: str | None = None
    archs: tuple[str, ...] = ()


DECLARED = (
    Declared("image_size", int),  # the sizes of the dataset
    Declared("batch_size", int, choices=(16, 32, 64)),
    Declared("unfreeze_layers", int, choices=(5, 10, 20), archs=TRANSFER),
    Declared("learning_rate", float, scale="log"),
    Declared("fine_tune_learning_rate", float, scale="log", archs=TRANSFER),
    Declared("dropout", float, scale="linear"),
)
EQUALIZATION = "equalization"
"""Chosen by choosing a dataset."""


@dataclass(frozen=True)
class Choice:
    """A hyperparameter with values to choose from, all different."""

    name: str
    values: tuple[Any, ...]

    def to_json(self) -> list[Any]:
        """As in `sweep.json`."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A hyperparameter anywhere from `low` to `high`, drawn by its value or by its logarithm (`scale`)."""

    name: str
    low: float
    high: float
    scale: str

    def to_json(self) -> dict[str, Any]:
        """As in `sweep.json`."""
        return {"low": self.low, "high": self.high, "scale": self.scale}


@dataclass(frozen=True)
class Space:
    """All hyperparameters of a sweep, in the order in which they were declared."""

    parameters: tuple[Choice | Range, ...]

    @property
    def varied(self) -> tuple[Choice | Range, ...]:
        """Those that have more than one value."""
        return tuple(each for each in self.parameters if isinstance(each, Range) or len(each.values) > 1)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Those that can't be counted."""
        return tuple(each for each in self.parameters if isinstance(each, Range))

    @property
    def fixed(self) -> dict[str, Any]:
        """Name → value of those with a single value."""
        return {
            each.name: each.values[0] for each in self.parameters if isinstance(each, Choice) and len(each.values) == 1
        }

    def choices(self, name: str) -> tuple[Any, ...]:
        """The values of a choice, be it a single one; empty if there is no such choice."""
        return next((each.values for each in self.parameters if each.name == name and isinstance(each, Choice)), ())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of the values to choose from, the last one varying fastest; of a range, its low end."""
        columns = [each.values if isinstance(each, Choice) else (each.low,) for each in self.varied]
        for values in itertools.product(*columns):
            yield {each.name: value for each, value in zip(self.varied, values, strict=True)}

    def rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values that a range gave to three digits, as a reader takes them in; all others as they are."""
        names = {each.name for each in self.ranges}
        return {name: float(f"{value:.3g}") if name in names else value for name, value in values.items()}

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """What is varied, in KerasTuner's words."""
        import keras_tuner

        found = keras_tuner.HyperParameters()
        for each in self.varied:
            if isinstance(each, Choice):
                found.Choice(each.name, list(each.values))
            else:
                found.Float(each.name, each.low, each.high, sampling=each.scale)
        return found

    def to_json(self) -> dict[str, Any]:
        """Name → what it is chosen from, for `sweep.json`."""
        return {each.name: each.to_json() for each in self.varied}


def resolve(
    config: SearchConfig,
    arch: str,
    image_sizes: Sequence[int],
    equalizations: Sequence[str],
    preset: Mapping[str, Any] = MappingProxyType({}),
) -> Space:
    """What a search varies: its flags, else its YAML file, else what is declared and no preset sets.

    Args:
        config: of the search.
        arch: of every trial.
        image_sizes: of the dataset, px.
        equalizations: of the datasets, one each.
        preset: flag → value, which all trials share.

    Raises:
        UsageError: a value is of the wrong kind, stands there twice or matters to another network only; the YAML file
            can't be read; a range where each configuration is asked for.
    """
    given = {name: [text] if isinstance(text, str) else list(text) for name, text in _from_file(config.space).items()}
    given |= {each.name: list(flag) for each in DECLARED if (flag := getattr(config, each.name))}
    unsaid = {each.name: each.choices for each in DECLARED} | {"image_size": tuple(image_sizes)}
    unsaid |= {name: (preset[name],) for name, choices in unsaid.items() if choices and name in preset}
    parameters: list[Choice | Range] = []
    for declared in DECLARED:
        of_this = not declared.archs or arch in declared.archs
        if declared.name in given:
            if not of_this:
                raise UsageError(f"--{declared.name} is of {', '.join(declared.archs)} only; found --arch {arch}")
            parameters.append(_parse(declared, given[declared.name]))
        elif of_this and unsaid[declared.name]:
            parameters.append(Choice(declared.name, unsaid[declared.name]))
    if len(equalizations) > 1:
        parameters.append(Choice(EQUALIZATION, tuple(equalizations)))
    space = Space(tuple(parameters))
    if config.algorithm == "grid" and space.ranges:
        names = ", ".join(f"--{each.name} {each.low:g}:{each.high:g}" for each in space.ranges)
        raise UsageError(f"--algorithm grid tries every value, {names} has no end of them; give values")
    return space


def _parse(declared: Declared, texts: Sequence[str]) -> Choice | Range:
    """One hyperparameter from its values or its range as text."""
    flag = f"--{declared.name} {' '.join(texts)}"
    if any(":" in text for text in texts):
        return _parse_range(declared, texts, flag)
    try:
        values = tuple(declared.kind(text) for text in texts)
    except ValueError:
        kind = "whole numbers" if declared.kind is int else "numbers"
        also = " or one range such as 1e-5:1e-2" if declared.scale else ""
        raise UsageError(f"{flag}: expected {kind}{also}") from None
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{flag}: expected values that differ")
    return Choice(declared.name, values)


def _parse_range(declared: Declared, texts: Sequence[str], flag: str) -> Range:
    if declared.scale is None:
        raise UsageError(f"{flag}: takes values, no range")
    try:
        (text,) = texts
        low, high = map(float, text.split(":"))
    except ValueError:
        raise UsageError(f"{flag}: expected values, or one range such as 1e-5:1e-2") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (declared.scale == "log" and low <= 0):
        raise UsageError(f"{flag}: expected LOW:HIGH with LOW less than HIGH{', above 0' * (declared.scale == 'log')}")
    return Range(declared.name, low, high, declared.scale)


def _from_file(path: str | None) -> dict[str, list[str]]:
    """The YAML file as the command line would have it: name → texts."""
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), yaml.BaseLoader)  # all scalars as they are written
    except OSError as error:
        raise UsageError(f"--space {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--space {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--space {path}: expected lines such as learning_rate: [1e-4, 1e-3], found no names")
    known = [each.name for each in DECLARED]
    if unknown := [str(name) for name in content if name not in known]:
        raise UsageError(f"--space {path}: unknown {', '.join(unknown)}; expected some of: {', '.join(known)}")
    return {
        name: [str(each) for each in (value if isinstance(value, list) else [value])] for name, value in content.items()
    }
