"""Defines `model.json`: what is needed to use `model.keras`, and how the model was made. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY, EQUALIZATIONS, MULTICLASS, MULTILABEL, SPLITS, TASKS, LabelSpace
from beam_prep.storage.json_schema import (
    Mismatch,
    anything,
    entries,
    flag,
    list_of,
    mapping_of,
    nullable,
    number,
    one_of,
    text,
    whole,
)
from trainer.config.fold import Fold
from trainer.run.folder import RunFolder
from trainer.run.metrics_schema import BEST_EPOCH, PHASE

SERVABLE_EQUALIZATIONS = ("hist", "hist_full", "none")
"""The equalizations that `inference/preprocessing_graph.py` has as a TensorFlow graph."""

NEEDED = ("arch", "image_size", "equalization", "class_names", "dataset_fingerprint")
"""The entries without which a model can't be used."""

WRITTEN_IF_SET = (
    *("task", "fit", "num_corrupt", "trained_on", "precision", "jit_compile", "probe", "development", "members"),
    *("tta", "date"),
)
"""The entries that only some kinds of runs have."""

NOTHING_CALLED = 1.001
"""The threshold at which no image is called positive, however its probability is rounded."""

_POINT_ENTRIES = {
    BINARY: ("threshold", "threshold_rule", "temperature", "bias"),
    MULTICLASS: ("temperature", "biases"),
    MULTILABEL: ("threshold_rule", "thresholds", "temperatures", "biases"),
}
"""The entries of `model.json` that hold the operating point, by task."""

THRESHOLD = number(0, NOTHING_CALLED)
"""The check of a threshold in a file."""
TEMPERATURE = number(1e-6, 1e6)
"""The check of a temperature in a file."""
TEMPERATURES = (0.05, 20.0)
"""The lowest and the highest temperature that is tried."""
_LINE = text(r"[^\0\n]+", example="vgg19", most=1000)
_OBJECT = mapping_of(anything, most=1000)
_CARD = entries(
    {
        "arch": _LINE,
        "image_size": whole(1, 4096),
        "equalization": one_of(*EQUALIZATIONS),
        "class_names": list_of(_LINE, most=1000),
        "dataset_fingerprint": text(r"\w+", example="0123456789abcdef", most=128),
    },
    {
        "task": one_of(*TASKS),
        "fit": nullable(one_of("pad", "crop")),
        "num_corrupt": nullable(mapping_of(whole(), one_of(*SPLITS))),
        "trained_on": nullable(list_of(one_of(*SPLITS))),
        "fold": nullable(_OBJECT),
        "phases": list_of(PHASE, most=1000),
        "best": nullable(BEST_EPOCH),
        "threshold": nullable(THRESHOLD),
        "threshold_rule": nullable(_LINE),
        "temperature": nullable(TEMPERATURE),
        "thresholds": list_of(THRESHOLD, most=1000),
        "temperatures": list_of(TEMPERATURE, most=1000),
        "bias": nullable(number(-1e6, 1e6)),
        "development": nullable(mapping_of(text(), most=1000)),
        "summary": text(most=10**7),
        "software": mapping_of(text(), most=1000),
        "num_replicas": whole(1, 10**6),
        "device": text(),
        "precision": nullable(text()),
        "jit_compile": nullable(flag),
        "probe": nullable(_OBJECT),
        "members": nullable(
            list_of(entries({"run": text(), "arch": _LINE, "image_size": whole(1, 4096)}, others=True), most=1000)
        ),
        "tta": nullable(flag),
        "date": nullable(text(r"\d{4}-\d\d-\d\d", example="2026-11-27", most=10)),
    },
    others=True,
)
"""The check of `model.json`."""


@dataclass(frozen=True)
class OperatingPoint:
    """The thresholds, temperatures and biases that are fixed on validation and then used on every other split.

    A model of two classes has a threshold, a temperature and a bias. A multiclass model has a temperature and biases,
    and no threshold, since the most probable class is its prediction. A multilabel model has a threshold and a
    temperature for each finding, and biases.

    Attributes:
        threshold: an image whose probability of the positive class is at or above it is called positive.
        threshold_rule: the rule by which the threshold was chosen, see `parse_rule`.
        temperature: the number that logits are divided by to be calibrated.
        bias: the number that is added to a divided logit; 0 unless the run was recalibrated, see `recalibrate`.
        task: what the labels of an image are, one of `schema.TASKS`.
        thresholds, temperatures: threshold and temperature of each finding of a multilabel model.
        biases: the bias of each class or finding; none unless the run was recalibrated.
    """

    threshold: float = 0.5
    threshold_rule: str = "0.5"
    temperature: float = 1.0
    bias: float = 0.0
    task: str = BINARY
    thresholds: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()

    @classmethod
    def fixed(
        cls, threshold: float = 0.5, rule: str = "0.5", *, task: str = BINARY, num_classes: int = 2
    ) -> OperatingPoint:
        """Returns an operating point with one threshold for all findings, and without calibration."""
        findings = num_classes if task == MULTILABEL else 0
        return cls(threshold, rule, task=task, thresholds=(threshold,) * findings, temperatures=(1.0,) * findings)

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> OperatingPoint:
        """Takes the operating point from entries of `model.json` or `metrics.json`; the defaults stand for null."""
        given: dict[str, Any] = {}
        for name in (each.name for each in fields(cls)):
            if (value := entries.get(name)) is not None:
                given[name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Returns the entries for `model.json`, which depend on the task; a bias of 0 and no biases are left out."""
        names = _POINT_ENTRIES[self.task]
        content = {
            name: value
            for name, value in asdict(self).items()
            if name in names and (name not in ("bias", "biases") or value)
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    def of_finding(self, index: int) -> OperatingPoint:
        """Returns the operating point of one finding of a multilabel model."""
        bias = self.biases[index] if self.biases else 0.0
        return OperatingPoint(self.thresholds[index], self.threshold_rule, self.temperatures[index], bias)


@dataclass(frozen=True)
class ModelCard:
    """The content of `model.json`, in the order of the file.

    Attributes:
        arch: name of the network.
        image_size: side of the images that the network takes, px.
        equalization: equalization of the images before the resize, see `beam_prep.images.equalize`.
        class_names: names of the classes, by label.
        task: what the labels of an image are, one of `schema.TASKS`.
        dataset_fingerprint: fingerprint of the dataset that the model was trained on.
        fit: the way an image becomes a square, see `beam_prep.images.fit`; None for `squash`.
        num_corrupt: number of corrupt records that were left out, by split.
        trained_on: splits whose images the model was trained on; of a run in a fold, both that the fold divides.
        fold: entries of `FoldSplits.to_json`; None without cross-validation.
        phases: name, parameters, epochs and seconds of the phases of the training.
        best: phase, epoch and validation loss of the weights that were kept.
        operating_point: threshold, threshold rule and temperature, which are entries of their own in the file.
        summary: layers of the network, as Keras prints them.
        software: versions of Python and of the packages, by name.
        num_replicas: number of replicas that trained.
        device: name of the GPU, or CPU.
        precision: type that the layers computed in, `float32` or `bfloat16`.
        jit_compile: True if XLA compiled the training steps.
        probe: what a linear probe was fitted with.
        development: names and fingerprints of the sets of other sources that the weights were selected by.
        members: run folder, network and image size of the runs that were evaluated as one model.
        tta: True if the model, or those runs, predict the mean over an image and its mirror image.
        date: the day on which the training ended, in UTC, as in 2026-11-27.
        unknown: entries of other versions of this program.
    """

    arch: str
    image_size: int
    equalization: str
    class_names: Sequence[str]
    dataset_fingerprint: str
    task: str = BINARY
    fit: str | None = None
    num_corrupt: Mapping[str, int] | None = None
    trained_on: Sequence[str] | None = None
    fold: Mapping[str, Any] | None = None
    phases: Sequence[Mapping[str, Any]] = ()
    best: Mapping[str, Any] | None = None
    operating_point: OperatingPoint = OperatingPoint()
    summary: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    num_replicas: int = 1
    device: str = ""
    precision: str | None = None
    jit_compile: bool | None = None
    probe: Mapping[str, Any] | None = None
    development: Mapping[str, str] | None = None
    members: Sequence[Mapping[str, Any]] | None = None
    tta: bool | None = None
    date: str | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, run: RunFolder) -> ModelCard:
        """Reads the `model.json` of a run.

        Raises:
            UsageError: the file is missing, or an entry is missing or can't be that of a model.
        """
        content = run.read_json("model")
        try:
            _CARD(content, "")
        except Mismatch as error:
            raise UsageError(f"--run {run}: its model.json is not that of a finished run: {error}") from None
        point = OperatingPoint.of(content)
        num_classes = len(content["class_names"])
        if point.task == MULTILABEL and not len(point.thresholds) == len(point.temperatures) == num_classes:
            raise UsageError(
                f"--run {run}: its model.json is not that of a finished run: expected thresholds and temperatures of "
                f"{num_classes} findings, found {len(point.thresholds)} and {len(point.temperatures)}"
            )
        known = {name: content[name] for name in {each.name for each in fields(cls)} & content.keys()}
        unknown = {name: content[name] for name in content if name not in {**known, **point.to_json()}}
        return cls(**known, operating_point=point, unknown=unknown)

    @property
    def labels(self) -> LabelSpace:
        """The task and the class names, which say what the outputs of the model mean."""
        return LabelSpace(tuple(self.class_names), self.task)

    def write(self, run: RunFolder) -> None:
        """Writes the `model.json` of a run."""
        content: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name in ("operating_point", "unknown"):
                content |= value.to_json() if name == "operating_point" else value
            elif value not in (None, {}, BINARY) or name not in WRITTEN_IF_SET:
                content[name] = value
        run.write_json("model", content)

    def fold_in(self, dataset_fingerprint: str) -> Fold | None:
        """Returns the fold of a dataset that the run was trained in; None without a fold, or for another dataset."""
        if not self.fold or self.dataset_fingerprint != dataset_fingerprint:
            return None
        return Fold.parse(self.fold["fold"])

    def for_export(self) -> dict[str, Any]:
        """Returns the entries that go beside a model that leaves its run."""
        point = self.operating_point
        entries = {name: getattr(self, name) for name in NEEDED}
        task = {"task": self.task} if self.task != BINARY else {}
        return {
            **entries,
            **task,
            **{name: value for name in ("fit", "tta") if (value := getattr(self, name))},
            **{name: value for name, value in point.to_json().items() if name != "threshold_rule"},
        }
