"""Declares the hyperparameters that can be searched, and narrows them by flags, a YAML file or a preset.

Standard library only; PyYAML and KerasTuner load on use.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from beam_prep.console.errors import UsageError
from beam_prep.storage.user_files import read_yaml
from trainer.config.train import FROM_SCRATCH
from trainer.config.train_flags import Arch
from tuning.config import DEFAULT_BATCH_SIZES, SearchConfig

if TYPE_CHECKING:
    import keras_tuner

logger = logging.getLogger(__name__)

TRANSFER = tuple(arch for arch in get_args(Arch) if arch not in FROM_SCRATCH)


@dataclass(frozen=True)
class SearchableFlag:
    """A flag of `trainer train` that can be searched.

    Attributes:
        name: the name of the flag.
        kind: the type of its values.
        choices: the values that are searched by default; empty: the flag is not searched by default.
        scale: the scale on which a range of the flag is drawn, "log" or "linear"; None: the flag takes no range.
        archs: the networks that have this hyperparameter; empty: all networks.
    """

    name: str
    kind: type
    choices: tuple[int, ...] = ()
    scale: str | None = None
    archs: tuple[str, ...] = ()


SEARCHABLE_FLAGS = (
    SearchableFlag("image_size", int),  # the default choices are the sizes of the dataset
    SearchableFlag("batch_size", int, choices=DEFAULT_BATCH_SIZES),
    SearchableFlag("unfreeze_layers", int, choices=(5, 10, 20), archs=TRANSFER),
    SearchableFlag("learning_rate", float, scale="log"),
    SearchableFlag("fine_tune_learning_rate", float, scale="log", archs=TRANSFER),
    SearchableFlag("dropout", float, scale="linear"),
)
MAX_VALUES = 1000
"""The largest number of values of a hyperparameter in a YAML file."""
ROUNDING = 0.005
"""The largest share by which rounding to three digits changes a value."""
EQUALIZATION = "equalization"
"""The hyperparameter that is searched by choosing among several datasets."""


@dataclass(frozen=True)
class Choice:
    """A hyperparameter with a list of values to choose from, all different."""

    name: str
    values: tuple[Any, ...]

    def to_json(self) -> list[Any]:
        """Returns the values as `sweep.json` keeps them."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A hyperparameter with a range, drawn on a "log" or a "linear" scale."""

    name: str
    low: float
    high: float
    scale: str

    def to_json(self) -> dict[str, Any]:
        """Returns the range as `sweep.json` keeps it."""
        return {"low": self.low, "high": self.high, "scale": self.scale}


@dataclass(frozen=True)
class SearchSpace:
    """The hyperparameters of a sweep, in the order of `SEARCHABLE_FLAGS`."""

    parameters: tuple[Choice | Range, ...]

    @property
    def varied(self) -> tuple[Choice | Range, ...]:
        """The hyperparameters that have more than one value."""
        return tuple(
            parameter for parameter in self.parameters if isinstance(parameter, Range) or len(parameter.values) > 1
        )

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The hyperparameters with a range, whose values can't be counted."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Range))

    @property
    def fixed(self) -> dict[str, Any]:
        """The hyperparameters that have a single value: name → value."""
        choices = [parameter for parameter in self.parameters if isinstance(parameter, Choice)]
        return {choice.name: choice.values[0] for choice in choices if len(choice.values) == 1}

    def choices(self, name: str) -> tuple[Any, ...]:
        """Returns the values of the choice of this name, be it a single one; empty if there is no such choice."""
        return next((entry.values for entry in self.parameters if entry.name == name and isinstance(entry, Choice)), ())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yields every combination of values, the last hyperparameter varying fastest; a range gives its low end."""
        varied = self.varied
        columns = [parameter.values if isinstance(parameter, Choice) else (parameter.low,) for parameter in varied]
        for values in itertools.product(*columns):
            yield {parameter.name: value for parameter, value in zip(varied, values, strict=True)}

    def declared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns values that came over the network as the space declares them.

        Args:
            values: hyperparameter → value; a number may have lost digits on its way.

        Raises:
            ValueError: a hyperparameter is missing or unknown, or a value lies outside the space.
        """
        if set(values) != {parameter.name for parameter in self.varied}:
            raise ValueError(f"expected values of {', '.join(parameter.name for parameter in self.varied)}")
        exact: dict[str, Any] = {}
        for parameter in self.varied:
            value = values[parameter.name]
            if isinstance(parameter, Range):
                if type(value) not in (int, float) or not (
                    parameter.low * (1 - ROUNDING) <= value <= parameter.high * (1 + ROUNDING)
                ):
                    raise ValueError(f"{parameter.name}: expected {parameter.low:g} to {parameter.high:g}")
                exact[parameter.name] = value
            else:
                equal = [known for known in parameter.values if _is_same(known, value)]
                if not equal:
                    raise ValueError(f"{parameter.name}: expected one of {', '.join(map(str, parameter.values))}")
                exact[parameter.name] = equal[0]
        return exact

    def rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Rounds the values of ranges to three digits, which a reader takes in; all other values stay as they are."""
        names = {parameter.name for parameter in self.ranges}
        return {name: float(f"{value:.3g}") if name in names else value for name, value in values.items()}

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Converts the hyperparameters that vary to KerasTuner's type."""
        import keras_tuner

        converted = keras_tuner.HyperParameters()
        for parameter in self.varied:
            if isinstance(parameter, Choice):
                converted.Choice(parameter.name, list(parameter.values))
            else:
                converted.Float(parameter.name, parameter.low, parameter.high, sampling=parameter.scale)
        return converted

    def to_json(self) -> dict[str, Any]:
        """Returns the hyperparameters that vary as `sweep.json` keeps them: name → values or range."""
        return {parameter.name: parameter.to_json() for parameter in self.varied}


def _is_same(known: Any, value: Any) -> bool:
    if type(known) is float and type(value) in (int, float):
        return math.isclose(known, value, rel_tol=1e-6)
    return type(known) is type(value) and bool(known == value)


def resolve_space(
    config: SearchConfig,
    arch: str,
    image_sizes: Sequence[int],
    equalizations: Sequence[str],
    preset: Mapping[str, Any] = MappingProxyType({}),
    batch_step: int = 1,
) -> SearchSpace:
    """Determines the search space: flags come before the YAML file, the file before the preset, the preset before the
    defaults.

    Args:
        config: the flags of the search.
        arch: the network of every trial.
        image_sizes: the image sizes of the dataset, px.
        equalizations: the equalization of each dataset.
        preset: flag → value of the preset that all trials share.
        batch_step: the number that must divide a batch; the default batch sizes are raised to its multiples.

    Raises:
        UsageError: a value has the wrong type, is repeated, or belongs to another network; the YAML file can't be read;
            or a grid search is given a range.
    """
    given = _read_yaml(config.space)
    given |= {flag.name: list(texts) for flag in SEARCHABLE_FLAGS if (texts := getattr(config, flag.name))}
    defaults = {flag.name: flag.choices for flag in SEARCHABLE_FLAGS} | {"image_size": tuple(image_sizes)}
    if not given.get("batch_size") and "batch_size" not in preset:
        defaults["batch_size"] = _raised(defaults["batch_size"], batch_step)
    defaults |= {name: (preset[name],) for name, choices in defaults.items() if choices and name in preset}
    parameters: list[Choice | Range] = []
    for flag in SEARCHABLE_FLAGS:
        has_effect = not flag.archs or arch in flag.archs
        if flag.name in given:
            if not has_effect:
                raise UsageError(f"--{flag.name} applies to {', '.join(flag.archs)} only; found --arch {arch}")
            parameters.append(_parse(flag, given[flag.name]))
        elif has_effect and defaults[flag.name]:
            parameters.append(Choice(flag.name, defaults[flag.name]))
    if len(equalizations) > 1:
        parameters.append(Choice(EQUALIZATION, tuple(equalizations)))
    space = SearchSpace(tuple(parameters))
    if config.algorithm == "grid" and space.ranges:
        names = ", ".join(f"--{parameter.name} {parameter.low:g}:{parameter.high:g}" for parameter in space.ranges)
        raise UsageError(f"--algorithm grid tries every value, which a range has no end of: {names}; give values")
    return space


def _raised(sizes: tuple[int, ...], step: int) -> tuple[int, ...]:
    """Raises batch sizes to the next multiples of a number, and says so."""
    raised = tuple(dict.fromkeys(-(-size // step) * step for size in sizes))
    if raised != sizes:
        said = [", ".join(map(str, values)) for values in (sizes, raised)]
        logger.warning("--batch_size: %s raised to %s, the next multiples of %d, as replicas need", *said, step)
    return raised


def _parse(flag: SearchableFlag, texts: Sequence[str]) -> Choice | Range:
    """Parses one hyperparameter from the text of its values or of its range."""
    said = f"--{flag.name} {' '.join(texts)}"
    if any(":" in text for text in texts):
        return _parse_range(flag, texts, said)
    try:
        values = tuple(flag.kind(text) for text in texts)
    except ValueError:
        kind = "whole numbers" if flag.kind is int else "numbers"
        also = " or one range such as 1e-5:1e-2" if flag.scale else ""
        raise UsageError(f"{said}: expected {kind}{also}") from None
    if not values or len(set(values)) < len(values):
        raise UsageError(f"{said}: expected values that differ")
    return Choice(flag.name, values)


def _parse_range(flag: SearchableFlag, texts: Sequence[str], said: str) -> Range:
    if flag.scale is None:
        raise UsageError(f"{said}: expected values, found a range, which this flag does not take")
    try:
        (text,) = texts
        low, high = map(float, text.split(":"))
    except ValueError:
        raise UsageError(f"{said}: expected values, or one range such as 1e-5:1e-2") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (flag.scale == "log" and low <= 0):
        raise UsageError(f"{said}: expected LOW:HIGH with LOW less than HIGH{', above 0' * (flag.scale == 'log')}")
    return Range(flag.name, low, high, flag.scale)


def _read_yaml(path: str | None) -> dict[str, list[str]]:
    """Reads the YAML file of a search space: name → texts, as the command line has them."""
    if path is None:
        return {}
    content = read_yaml("space", path)
    if not isinstance(content, dict):
        raise UsageError(f"--space {path}: expected lines such as learning_rate: [1e-4, 1e-3], found no names")
    known = [flag.name for flag in SEARCHABLE_FLAGS]
    if unknown := [str(name) for name in content if name not in known]:
        raise UsageError(f"--space {path}: unknown {', '.join(unknown)}; expected some of: {', '.join(known)}")
    given = {name: value if isinstance(value, list) else [value] for name, value in content.items()}
    for name, values in given.items():
        if len(values) > MAX_VALUES or not all(isinstance(value, str) for value in values):
            raise UsageError(f"--space {path}: {name}: expected at most {MAX_VALUES} values or one range")
    return given
