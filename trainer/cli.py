"""Runs the commands of `python -m trainer` and prints their results."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from shlex import quote
from typing import Any

from beam_prep.console import command_line
from beam_prep.console.command import BEGUN, RESUMES, Command
from beam_prep.console.escapes import csv_cell, printable
from beam_prep.console.progress import progress_bar
from beam_prep.storage.paths import to_path
from trainer.config.commands import (
    CompareConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    PredictConfig,
    PresetsConfig,
    ProbeConfig,
    RecalibrateConfig,
)
from trainer.config.file import with_config_file
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard
from trainer.tables import (
    print_comparison,
    print_decision,
    print_fold,
    print_mirrored,
    print_next,
    print_numbers,
    print_recalibration,
    print_robustness,
    print_speed,
)


def _train(config: TrainConfig) -> None:
    """Trains a model and prints its numbers and where its files are."""
    from trainer.jobs.train import train

    result = train(config)
    if result is None:  # the chief writes and prints
        return
    folder, numbers = result
    print_numbers(numbers)
    card = ModelCard.read(folder)
    print_fold(card)
    print_mirrored(card, after_epochs=True)
    print_speed(numbers["speed"])
    corrupt = {split: count for split, count in (card.num_corrupt or {}).items() if count}
    if corrupt:
        counts = ", ".join(f"{count} of {split}" for split, count in corrupt.items())
        print(f"note:      corrupt records were left out: {counts}")
    print(f"run:       {folder}")
    print(f"report:    {folder}/report.html")
    print(f"curves:    tensorboard --logdir {quote(f'{folder}/tensorboard')}")
    print_next(folder, "predict", "explain", "compare")


def _probe(config: ProbeConfig) -> None:
    """Fits a linear probe and prints its numbers and where its files are."""
    from trainer.jobs.probe import probe

    folder, numbers = probe(config)
    print_numbers(numbers)
    card = ModelCard.read(folder)
    fitted = card.probe or {}
    print_fold(card)
    print(
        f"probe:     {fitted['num_features']} features → {fitted['pca_components']} components "
        f"({fitted['explained_variance']:.1%} of the variance), strength C = {fitted['strength']:g}"
    )
    chosen = next(each for each in fitted["tried"] if each["strength"] == fitted["strength"])
    print(f"folds:     AUROC {chosen['auroc']:.4f} ± {chosen['auroc_sd']:.4f} over {fitted['folds']} patient folds")
    print(f"run:       {folder}")
    print(f"report:    {folder}/report.html")
    print_next(folder, "predict", "explain", "compare")


def _presets(config: PresetsConfig) -> None:
    """Prints all presets, with a line for each setting."""
    from trainer.config.presets import preparation, preset_names, read_preset

    for name in preset_names():
        preset = read_preset(name)
        print(f"{name}: {preset.description}")
        for flag, setting in preset.settings.items():
            value = "not set" if setting.value is None else setting.value
            print(f"  {f'--{flag}':26}{value!s:17}{setting.description}")
        print(f"  images: {preparation(preset.values['image_size'], preset.equalization)}")


def _evaluate(config: EvaluateConfig) -> None:
    """Evaluates runs and prints their numbers and where the results are."""
    from trainer.jobs.evaluate import evaluate

    folder, numbers = evaluate(config)
    print_numbers({config.split: numbers[config.split]})
    if to_path(str(folder)) != to_path(config.output or config.run[0]):
        print(f"note:      {config.data} is not the dataset of the run; its results are in a folder of their own")
    print_robustness(numbers[config.split].get("robustness", ()))
    print_decision(numbers[config.split])
    print_mirrored(ModelCard.read(folder))
    print(f"metrics:   {folder}/metrics.json")
    print(f"report:    {folder}/report.html")
    if config.output is None:
        below = str(folder).removeprefix(str(RunFolder.at(config.run[0])))
        print_next(config.run[0], "explain", "compare", split=config.split, below=below)


def _recalibrate(config: RecalibrateConfig) -> None:
    """Recalibrates a run and prints what was fitted, what it changes and how it is used."""
    from trainer.jobs.recalibrate import recalibrate

    folder, found = recalibrate(config)
    images = " and ".join(f"{count} {printable(name)}" for name, count in found["class_counts"].items())
    print(f"sample:    {found['name']}, {config.split}: {images} images of {found['num_groups']} patients")
    print_recalibration(found)
    print(f"saved:     {folder}/recalibrations/{found['name']}.json; the run keeps its own threshold and temperature")
    print(
        f"use it:    cxrflow predict --run {quote(str(folder))} --recalibration {found['name']} "
        "FILE_OR_FOLDER; evaluate and export take the flag too"
    )


def _predict(config: PredictConfig) -> int:
    """Predicts image files and prints a row for each; returns 1 if a file could not be used."""
    from trainer.jobs.use_model import predict

    num_files, predictions = predict(config)
    num_broken = 0
    write = _row_writer(config.format)
    started = time.monotonic()
    # A progress bar would break up rows on the same terminal.
    show = sys.stderr.isatty() and not sys.stdout.isatty()
    with closing(predictions), progress_bar("predict", num_files, unit="images", show=show) as bar:
        for prediction in predictions:
            write(prediction.row())
            num_broken += prediction.error is not None
            bar.update()
    sys.stdout.flush()
    seconds = time.monotonic() - started
    print(f"predict: {num_files} files in {seconds:.1f} s, {num_files / seconds:.0f} images/s", file=sys.stderr)
    if num_broken:
        print(f"error: {num_broken} of {num_files} files can't be used; the column error says why", file=sys.stderr)
    return 1 if num_broken else 0


def _explain(config: ExplainConfig) -> int:
    """Explains image files and prints where the pictures are; returns 1 if a file could not be used."""
    from trainer.jobs.use_model import explain

    explained = explain(config)
    unusable = [each.prediction for each in explained if each.picture is None]
    for prediction in unusable:
        print(printable(f"error: {prediction.filename}: {prediction.error}"), file=sys.stderr)
    print(f"pictures:  {len(explained) - len(unusable)} in {config.output}")
    print(f"page:      {to_path(config.output) / 'index.html'}")
    return 1 if unusable else 0


def _export(config: ExportConfig) -> None:
    """Exports a run and prints where the models are and how they are called."""
    from trainer.jobs.use_model import export

    export(config)
    output = to_path(config.output)
    if "savedmodel" in config.format:
        print(f"serving:   {output / 'saved_model'} (JPEG or PNG bytes in, probability out; JPEG in CMYK is refused)")
        print(f"keras:     {output / 'model.keras'}, described in {output / 'model.json'}")
        print(f"look:      saved_model_cli show --dir {quote(str(output / 'saved_model'))} --all")
    for name, file in (("onnx", "model.onnx"), ("litert", "model.tflite")):
        if name in config.format:
            print(f"{name + ':':11}{output / file} (prepared images in, probability out), checked to 1e-5")
    print(f"card:      {output / 'README.md'}, for the Hugging Face Hub")


def _row_writer(kind: str) -> Callable[[dict[str, Any]], object]:
    if kind == "jsonl":
        return lambda row: print(json.dumps(row))
    writers: list[csv.DictWriter] = []

    def write(row: dict[str, Any]) -> None:
        if not writers:  # the columns are those of the first row
            writers.append(csv.DictWriter(sys.stdout, tuple(row), lineterminator="\n"))
            writers[0].writeheader()
        writers[0].writerow({name: csv_cell(value) for name, value in row.items()})

    return write


def _compare(config: CompareConfig) -> None:
    """Compares runs and prints a table."""
    from trainer.jobs.compare import compare
    from trainer.report.comparison_page import write_comparison

    compared = compare(config.runs, config.split, allow_different=config.allow_different)
    print_comparison(compared, config.split)
    if config.output:
        print(f"report:    {write_comparison(compared, config.split, to_path(config.output))}")


COMMANDS = {
    "train": Command(
        TrainConfig,
        _train,
        after_interrupt=RESUMES,
        examples=(
            "train --preset best --data dataset --output runs/best",
            "train --arch vgg19 --data dataset --output runs/vgg19 --seed 1",
        ),
    ),
    "probe": Command(
        ProbeConfig,
        _probe,
        examples=(
            "probe --arch vgg19 --data dataset --output runs/probe",
            "probe --run runs/best --data dataset --output runs/probe",
        ),
    ),
    "presets": Command(PresetsConfig, _presets, examples=("presets",)),
    "evaluate": Command(
        EvaluateConfig,
        _evaluate,
        repeats=True,
        examples=(
            "evaluate --run runs/best --data dataset --split val",
            "evaluate --run runs/a --run runs/b --data dataset --output runs/both",
        ),
    ),
    "recalibrate": Command(
        RecalibrateConfig,
        _recalibrate,
        examples=(
            "recalibrate --run runs/best --data sample",
            "recalibrate --run runs/best --data sample --split val --name clinic",
        ),
    ),
    "predict": Command(
        PredictConfig,
        _predict,
        positional=("files",),
        examples=(
            "predict --run runs/best images > predictions.csv",
            "predict --run runs/best --format jsonl a.dcm b.png",
        ),
    ),
    "explain": Command(
        ExplainConfig,
        _explain,
        positional=("files",),
        after_interrupt=BEGUN,
        examples=(
            "explain --run runs/best images --output explained",
            "explain --run runs/best a.dcm b.png --output explained",
        ),
    ),
    "export": Command(
        ExportConfig,
        _export,
        after_interrupt=BEGUN,
        is_private=False,
        examples=(
            "export --run runs/best --output exported",
            "export --run runs/best --output exported --format onnx litert",
        ),
    ),
    "compare": Command(
        CompareConfig,
        _compare,
        positional=True,
        examples=(
            "compare runs/a runs/b --output comparison.html",
            "compare runs/a runs/b runs/c --split val",
        ),
    ),
}


def main(program: str | None = None) -> None:
    """Runs the command line of `python -m trainer`."""
    summary = "Trains, evaluates and uses models on prepared datasets."
    command_line.main("trainer", summary, COMMANDS, with_config_file, program=program)
