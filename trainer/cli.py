"""The commands of `python -m trainer`: only this module prints results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beam_prep import command_line
from beam_prep.command_line import Command
from trainer.config import EvaluateConfig, TrainConfig, flags_from_file


def train(config: TrainConfig) -> None:
    """Trains and says what came of it."""
    from trainer.task import train as run

    result = run(config)
    if result is None:  # another worker writes and prints
        return
    folder, numbers = result
    _print_numbers(numbers)
    corrupt = {split: count for split, count in folder.read_json("model")["num_corrupt"].items() if count}
    if corrupt:
        print(
            f"note:      corrupt records were left out: {', '.join(f'{n} of {split}' for split, n in corrupt.items())}"
        )
    print(f"run:       {folder.path}")
    print(f"report:    {folder.report}")
    print(f"curves:    tensorboard --logdir {folder.tensorboard}")
    print(f"next:      python -m trainer evaluate --run {folder.path} --data {config.data} --split val")


def evaluate(config: EvaluateConfig) -> None:
    """Evaluates and says what came of it."""
    from trainer.task import evaluate as run

    folder, numbers = run(config)
    _print_numbers({config.split: numbers[config.split]})
    if folder.path != Path(config.run):
        print(f"note:      {config.data} is not the dataset that the run was trained on; its results are kept apart")
    print(f"metrics:   {folder.path / 'metrics.json'}")
    print(f"report:    {folder.report}")


def _print_numbers(numbers: dict[str, Any]) -> None:
    columns = ("num_images", "loss", "accuracy", "auroc", "sensitivity", "specificity")
    print(f"{'split':8}" + "".join(f"{name:>13}" for name in columns))
    for split, values in numbers.items():
        print(f"{split:8}" + "".join(f"{_shown(values[name]):>13}" for name in columns))
        for name, reason in values["undefined"].items():
            print(f"{'':8} {name} is undefined: {reason}")


def _shown(value: float | int | None) -> str:
    return "undefined" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


COMMANDS = {
    "train": Command(TrainConfig, train),
    "evaluate": Command(EvaluateConfig, evaluate),
}


def main() -> None:
    """Entry point."""
    command_line.main("trainer", "A prepared dataset to a trained and evaluated model.", COMMANDS, _with_config_file)


def _with_config_file(arguments: list[str]) -> list[str]:
    """Puts the flags of `--config FILE` before those of the user, whose own win."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config" and (value or index + 1 < len(arguments)):
            return [arguments[0], *flags_from_file(value or arguments[index + 1]), *arguments[1:]]
    return arguments
