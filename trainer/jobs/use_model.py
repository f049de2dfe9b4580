"""Uses finished runs: predicts and explains image files, exports models. TensorFlow loads after the checks."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from beam_prep.console.errors import UsageError
from beam_prep.storage.mirror import mirror_of
from beam_prep.storage.output_folder import check_output
from trainer.config.commands import ExplainConfig, ExportConfig, PredictConfig
from trainer.config.quiet_start import quiet_start
from trainer.run.folder import MODEL_FILES, RunFolder
from trainer.run.model_card import SERVABLE_EQUALIZATIONS, ModelCard

if TYPE_CHECKING:
    from trainer.inference.predict import Prediction
    from trainer.report.saliency_pages import Explanation


def predict(config: PredictConfig) -> tuple[int, Generator[Prediction, None, None]]:
    """Predicts image files with a finished run.

    Returns:
        The number of files, and a generator that predicts them one by one.

    Raises:
        UsageError: the folder holds no run, or a path leads to no image.
    """
    from trainer.inference.image_files import find_files

    run = RunFolder.at(config.run).fetch(*MODEL_FILES)
    card = ModelCard.read(run).recalibrated(run, config.recalibration)
    paths = find_files(config.files)
    with quiet_start():
        from trainer.inference.predict import predict_files
        from trainer.models.model_file import load_model
    found = predict_files(
        load_model(run.model),
        card,
        paths,
        tta=config.tta,
        batch_size=config.batch_size,
        max_seconds=config.max_seconds_per_image,
    )
    return len(paths), found


def explain(config: ExplainConfig) -> list[Explanation]:
    """Writes Grad-CAM pictures of image files and a page of them.

    Returns:
        The outcome for each file.

    Raises:
        UsageError: the folder holds no run, a path leads to no image, or the output folder is not empty.
    """
    from trainer.inference.image_files import find_files

    run = RunFolder.at(config.run).fetch(*MODEL_FILES)
    card = ModelCard.read(run)
    paths = find_files(config.files)
    check_output(config.output)
    output = mirror_of(config.output).local
    with quiet_start():
        from trainer.models.model_file import load_model
        from trainer.report.saliency_pages import explain_files
    explained = explain_files(load_model(run.model), card, paths, output)
    mirror_of(config.output).push()
    return explained


def export(config: ExportConfig) -> Path:
    """Exports a finished run.

    Returns:
        The folder that was written.

    Raises:
        UsageError: the folder holds no run or one with an equalization that can't be exported, or the output folder is
            not empty.
        RunError: the export can't be written.
    """
    run = RunFolder.at(config.run).fetch(*MODEL_FILES)
    card = ModelCard.read(run).recalibrated(run, config.recalibration)
    if card.equalization not in SERVABLE_EQUALIZATIONS:
        raise UsageError(
            f"--run {config.run}: a run with equalization {card.equalization} can't be exported; expected "
            f"one of: {', '.join(SERVABLE_EQUALIZATIONS)}; use the run with: cxrflow predict"
        )
    check_output(config.output)
    output = mirror_of(config.output).local
    with quiet_start():
        from trainer.inference.export import write_export
        from trainer.models.model_file import load_model
    write_export(load_model(run.model), run.model, card, output)
    mirror_of(config.output).push(lambda name: int(name.endswith(("saved_model.pb", "model.json"))))
    return output
