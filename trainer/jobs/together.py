"""What the folder of several runs that were evaluated as one tells of them. Loads without TensorFlow."""

from __future__ import annotations

from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path
from trainer.config.commands import EvaluateConfig
from trainer.run.folder import RunFolder
from trainer.run.model_card import OperatingPoint


def open_output(folder: RunFolder, config: EvaluateConfig, described: list[dict[str, Any]]) -> dict[str, Any]:
    """Checks that runs belong together and that the output folder is theirs.

    Args:
        folder: of `--output`.
        config: names the runs.
        described: their `model.json`.

    Returns:
        The `model.json` that an earlier evaluation of the same runs left there; empty if there was none.

    Raises:
        UsageError: the runs were trained on different datasets or in different folds, or the folder holds something
            else.
    """
    fingerprints = {model["dataset_fingerprint"] for model in described}
    if len(fingerprints) > 1:
        raise UsageError(
            f"--run: expected runs that were trained on one dataset, found {len(fingerprints)}; what one of them tests "
            "on, another may have learnt from"
        )
    folds = {(model.get("fold") or {}).get("fold", "no fold") for model in described}
    if len(folds) > 1:
        raise UsageError(
            f"--run: expected runs of one fold, found {', '.join(sorted(folds))}; what one of them validates on, "
            "another has learnt from"
        )
    place = to_path(config.output or "")
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return {}
    try:
        known = folder.read_json("model")
    except UsageError:
        known = {}
    if (known.get("members"), known.get("tta")) != (_members(config, described), config.tta):
        raise UsageError(
            f"--output {folder}: expected an empty or absent folder, or an earlier evaluation of the same runs, "
            "found something else; name another folder"
        )
    return known


def describe(config: EvaluateConfig, described: list[dict[str, Any]], point: OperatingPoint) -> dict[str, Any]:
    """The `model.json` of runs together, with the entries of one of them where they agree."""
    first = described[0]
    same = ("equalization", "class_names", "dataset_fingerprint", "software", "device", "num_replicas")
    return {
        "arch": " + ".join(model["arch"] for model in described) + (" + mirror image" if config.tta else ""),
        "image_size": max(model["image_size"] for model in described),
        **{name: first[name] for name in same},
        "members": _members(config, described),
        "tta": config.tta,
        "fold": first.get("fold"),
        "phases": [],
        "best": None,
        **point.to_json(),
        "summary": "\n\n".join(model["summary"] for model in described),
    }


def _members(config: EvaluateConfig, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"run": str(to_path(run).resolve()), "arch": model["arch"], "image_size": model["image_size"]}
        for run, model in zip(config.run, described, strict=True)
    ]
