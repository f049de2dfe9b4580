"""Uses finished runs: predicts and explains image files, exports models. TensorFlow loads after the checks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_prep.console.command_line import recorded_flags, shown_command
from beam_prep.console.distribution import install_command
from beam_prep.console.errors import UsageError
from beam_prep.console.progress import say
from beam_prep.dataset.schema import BINARY
from beam_prep.pages.origin import Origin, link_to_report, today
from beam_prep.storage.mirror import mirror_of
from beam_prep.storage.output_folder import check_output
from trainer.config.commands import ExplainConfig, ExportConfig, PredictConfig
from trainer.config.quiet_start import quiet_start, quiet_stderr
from trainer.run.folder import MODEL_FILES, RunFolder
from trainer.run.model_card import SERVABLE_EQUALIZATIONS, ModelCard
from trainer.run.recalibrations import recalibrated

PACKAGES = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "litert": ("ai_edge_litert",)}
"""The packages that a format of `export` needs, by its name, which is that of the extra of the distribution too."""

if TYPE_CHECKING:
    from trainer.inference.predict import AnyPrediction
    from trainer.report.saliency_pages import Explanation


class Predictor:
    """A finished run that predicts image files; its model is loaded once, for the first of them.

    Args:
        run: the run folder.
        recalibration: the name of a recalibration of the run; None takes the run's own threshold and temperature.
        tta: True averages over each image and its mirror image.
        batch_size: images in a step; does not change the result.
        max_seconds_per_image: the processor time that decoding a file may take, s.

    Attributes:
        card: the model card of the run.

    Raises:
        UsageError: the folder holds no run, or the run has no such recalibration.
    """

    def __init__(
        self,
        run: str,
        *,
        recalibration: str | None = None,
        tta: bool = False,
        batch_size: int = 64,
        max_seconds_per_image: float = 60.0,
    ) -> None:
        self._run = RunFolder.at(run).fetch(*MODEL_FILES)
        self.card = recalibrated(ModelCard.read(self._run), self._run, recalibration)
        self._options: dict[str, Any] = {"tta": tta, "batch_size": batch_size, "max_seconds": max_seconds_per_image}
        self._model: Any = None

    def predict(self, *files: str) -> list[AnyPrediction]:
        """Predicts image files, and the files of folders; see `start`."""
        return list(self.start(files)[1])

    def start(self, files: Sequence[str]) -> tuple[int, Generator[AnyPrediction, None, None]]:
        """Returns the number of image files, and a generator that predicts them one by one.

        Raises:
            UsageError: a path leads to no image.
        """
        from trainer.inference.image_files import find_files

        paths = find_files(files)
        with quiet_start():
            from trainer.inference.predict import predict_files
            from trainer.models.model_file import load_model
        if self._model is None:
            self._model = load_model(self._run.model)
        return len(paths), predict_files(self._model, self.card, paths, **self._options)


def predict(config: PredictConfig) -> tuple[int, Generator[AnyPrediction, None, None]]:
    """Predicts image files with a finished run; for the result and the errors, see `Predictor`."""
    predictor = Predictor(
        config.run,
        recalibration=config.recalibration,
        tta=config.tta,
        batch_size=config.batch_size,
        max_seconds_per_image=config.max_seconds_per_image,
    )
    return predictor.start(config.files)


def explain(config: ExplainConfig) -> list[Explanation]:
    """Writes Grad-CAM pictures of image files and a page of them.

    Returns:
        The outcome for each file.

    Raises:
        UsageError: the folder holds no run, a path leads to no image, the output folder is not empty, or the run does
            not know the class.
    """
    from trainer.inference.image_files import find_files

    run = RunFolder.at(config.run).fetch(*MODEL_FILES)
    card = ModelCard.read(run)
    label = _label_of(config, card)
    paths = find_files(config.files)
    check_output(config.output)
    output = mirror_of(config.output).local
    with quiet_start():
        from trainer.models.model_file import load_model
        from trainer.report.saliency_pages import explain_files
    flags = {"run": config.run, "output": config.output, "class_name": config.class_name}
    command = shown_command(
        "explain", "FILES", *recorded_flags(ExplainConfig, flags)
    )  # names of files may name patients
    link = link_to_report("Run", config.run, output, home=config.output)
    origin = Origin("made", today(), command=command, links=(link,))
    explained = explain_files(load_model(run.model), run, card, paths, output, origin=origin, label=label)
    mirror_of(config.output).push()
    return explained


def _label_of(config: ExplainConfig, card: ModelCard) -> int | None:
    """Returns the index of the class of `--class_name`; None if it is not given."""
    names = list(card.class_names)
    known = names[1:] if card.task == BINARY else names  # evidence against the positive class of two is not shown
    if config.class_name is None:
        return None
    if config.class_name not in known:
        raise UsageError(
            f"--class_name {config.class_name}: {config.run} explains {', '.join(known)}; name one of them"
        )
    return names.index(config.class_name)


def export(config: ExportConfig) -> Path:
    """Exports a finished run.

    Returns:
        The folder that was written.

    Raises:
        UsageError: the folder holds no run, one of several models, or one with an equalization that a SavedModel does
            not have; a package for a format is not installed; or the output folder is not empty.
        RunError: the export can't be written, or the network can't be converted.
    """
    run = RunFolder.at(config.run).fetch(*MODEL_FILES, "metrics.json")
    card = recalibrated(ModelCard.read(run), run, config.recalibration)
    if card.members:
        raise UsageError(
            f"--run {config.run}: holds the results of {len(card.members)} runs together, and no model; export one of "
            f"them, such as {card.members[0]['run']}"
        )
    if "savedmodel" in config.format and card.equalization not in SERVABLE_EQUALIZATIONS:
        raise UsageError(
            f"--run {config.run}: a run with equalization {card.equalization} can't be exported as SavedModel; "
            f"expected one of: {', '.join(SERVABLE_EQUALIZATIONS)}; use --format onnx, which takes prepared images, or "
            "the run itself with: cxrflow predict"
        )
    _check_packages(config.format)
    check_output(config.output)
    output = mirror_of(config.output).local
    with quiet_start():
        from trainer.inference.export import write_export
        from trainer.inference.export_readme import readme
        from trainer.models.model_file import load_model
    metrics = run.read_json("metrics") if (run.path / "metrics.json").is_file() else {}
    model = load_model(run.model)
    say(f"writing {', '.join(config.format)} …")
    with quiet_stderr():
        write_export(
            model,
            run.model,
            card,
            output,
            formats=config.format,
            text=readme(card, config.format, metrics, license_name=config.license, hub_dataset=config.hub_dataset),
        )
    mirror_of(config.output).push(lambda name: int(name.endswith(("saved_model.pb", "model.json"))))
    return output


def _check_packages(formats: Sequence[str]) -> None:
    """Checks that the packages are installed by which networks are converted and checked; none is loaded."""
    for name in formats:
        missing = [package for package in PACKAGES.get(name, ()) if find_spec(package) is None]
        if missing:
            raise UsageError(f"--format {name}: it needs {', '.join(missing)}; install with: {install_command(name)}")
