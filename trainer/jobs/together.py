"""What the folder of several runs that were evaluated as one tells of them. Loads without TensorFlow."""

from __future__ import annotations

from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path
from trainer.config.commands import EvaluateConfig
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint


def open_output(folder: RunFolder, config: EvaluateConfig, cards: list[ModelCard]) -> ModelCard | None:
    """Checks that runs belong together and that the output folder is theirs.

    Args:
        folder: of `--output`.
        config: names the runs.
        cards: their model cards.

    Returns:
        The model card that an earlier evaluation of the same runs left there; None if there was none.

    Raises:
        UsageError: the runs were trained on different datasets or in different folds, or the folder holds something
            else.
    """
    fingerprints = {card.dataset_fingerprint for card in cards}
    if len(fingerprints) > 1:
        raise UsageError(
            f"--run: expected runs that were trained on one dataset, found {len(fingerprints)}; what one of them tests "
            "on, another may have learnt from"
        )
    folds = {(card.fold or {}).get("fold", "no fold") for card in cards}
    if len(folds) > 1:
        raise UsageError(
            f"--run: expected runs of one fold, found {', '.join(sorted(folds))}; what one of them validates on, "
            "another has learnt from"
        )
    place = to_path(config.output or "")
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    try:
        known = ModelCard.read(folder)
    except UsageError:
        known = None
    if known is None or (known.members, known.tta) != (_members(config, cards), config.tta):
        raise UsageError(
            f"--output {folder}: expected an empty or absent folder, or an earlier evaluation of the same runs, "
            "found something else; name another folder"
        )
    return known


def describe(config: EvaluateConfig, cards: list[ModelCard], point: OperatingPoint) -> ModelCard:
    """Describes runs as one model; what they agree on is taken from the first."""
    first = cards[0]
    return ModelCard(
        arch=" + ".join(card.arch for card in cards) + (" + mirror image" if config.tta else ""),
        image_size=max(card.image_size for card in cards),
        equalization=first.equalization,
        class_names=first.class_names,
        dataset_fingerprint=first.dataset_fingerprint,
        fold=first.fold,
        **point.to_json(),
        summary="\n\n".join(card.summary for card in cards),
        software=first.software,
        num_replicas=first.num_replicas,
        device=first.device,
        members=_members(config, cards),
        tta=config.tta,
    )


def _members(config: EvaluateConfig, cards: list[ModelCard]) -> list[dict[str, Any]]:
    return [
        {"run": str(to_path(run).resolve()), "arch": card.arch, "image_size": card.image_size}
        for run, card in zip(config.run, cards, strict=True)
    ]
