"""What `model.json` says that is needed to use `model.keras` on new images. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from beam_prep.console.errors import UsageError
from trainer.run.folder import RunFolder

SERVABLE_EQUALIZATIONS = ("hist", "none")
"""Those that `inference/preprocessing_graph.py` has as a TensorFlow graph."""


@dataclass(frozen=True)
class OperatingPoint:
    """What is fixed on validation and then used on every other split; saved in `model.json`.

    Attributes:
        threshold: an image whose probability of PNEUMONIA is at or above it is called PNEUMONIA.
        threshold_rule: how it was chosen.
        temperature: what logits are divided by to be calibrated.
    """

    threshold: float = 0.5
    threshold_rule: str = "0.5"
    temperature: float = 1.0

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> OperatingPoint:
        """That of a run, from its `model.json`."""
        return cls(**{name: described[name] for name in asdict(cls()) if name in described})

    def to_json(self) -> dict[str, Any]:
        """Its entries in `model.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Description:
    """A trained model, but for its weights.

    Attributes:
        arch: the network.
        image_size: of the images that it takes, px.
        equalization: what the images went through before the resize, see `beam_prep.images.equalize`.
        class_names: by label.
        dataset_fingerprint: of the dataset that it was trained on.
        threshold: from this probability on the prediction is 1.
        temperature: the calibrated probability is sigmoid(logit / temperature).
    """

    arch: str
    image_size: int
    equalization: str
    class_names: tuple[str, ...]
    dataset_fingerprint: str
    threshold: float = 0.5
    temperature: float = 1.0

    @classmethod
    def read(cls, run: RunFolder) -> Description:
        """Reads the `model.json` of a run.

        Raises:
            UsageError: it is not there, or lacks what is needed.
        """
        content = run.read_json("model")
        needed = ("arch", "image_size", "equalization", "class_names", "dataset_fingerprint")
        missing = [name for name in needed if not isinstance(content, Mapping) or name not in content]
        if missing:
            raise UsageError(
                f"--run {run.path}: its model.json lacks {', '.join(missing)}; expected that of a finished run"
            )
        # Both may be undefined for lack of images.
        optional = {name: content[name] for name in ("threshold", "temperature") if content.get(name) is not None}
        described = {**{name: content[name] for name in needed}, **optional}
        return cls(**{**described, "class_names": tuple(content["class_names"])})

    def to_json(self) -> dict[str, Any]:
        """As it goes beside a model that leaves its run."""
        return asdict(self)
