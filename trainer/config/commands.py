"""Defines the flags of all commands but `train`, whose flags are in `config/train_flags.py`. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from beam_prep.console.command_line import check_at_least
from beam_prep.console.errors import UsageError
from trainer.config.fold import Fold
from trainer.config.threshold_rule import parse_rule
from trainer.config.train import TrainConfig, check_prevalence
from trainer.config.train_flags import Arch


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a run, or several runs as one model, on a split of a dataset and write its report anew.

    Several runs, or an image and its mirror image, make one model: its probability is the mean of theirs. Threshold and
    temperature of this model are fitted on the validation images of the runs' own dataset, which are evaluated too.
    """

    run: tuple[str, ...]
    """Run folder that `trainer train` wrote; give the flag once for each run."""
    data: str
    """Dataset folder. If the run was trained on another dataset, the results are written to RUN/evaluations/, with
    what shifts between its validation images and this dataset; images and patients of the training are refused."""
    output: str | None = None
    """Folder for the results of several runs, or of --tta; one run without --tta keeps its results itself."""
    tta: bool = False
    """Average over each image and its mirror image (test-time augmentation), as a run trained with --tta always
    does."""
    split: Literal["test", "val", "train", "all"] = "test"
    """Split to evaluate on; all: the three together, of a dataset that the run was not trained on."""
    threshold_rule: str | None = None
    """Rule to choose the threshold anew on the run's own validation images, see `train --help`; if not given, the run's
    threshold (0.5 for several runs)."""
    recalibration: str | None = None
    """Name of the recalibration of the run to use, see `trainer recalibrate`; the results are written to
    RUN/evaluations/. If not given, the run's own threshold and temperature are used."""
    prevalence: float | None = None
    """Share of the positive class (by default PNEUMONIA) among future patients, 0 to 1: PPV and NPV are stated for it
    too."""
    robustness: bool = False
    """Evaluate on perturbed images too (exposure, noise, JPEG, rotation, crops, sizes, no equalization). The drop
    in AUROC is in metrics.json and the report until the split is evaluated again."""
    batch_size: int = 64
    """Images in a step; does not change the result."""
    stage_dir: str | None = None
    """Folder on this machine that the shards are downloaded to first and kept in; see `train --help`."""

    def __post_init__(self) -> None:
        check_at_least(self, batch_size=1)
        if not self.run:
            raise UsageError("--run is missing; name a run folder, once for each run")
        if len(set(self.run)) < len(self.run):
            raise UsageError(f"--run names a run twice: {', '.join(self.run)}")
        if self.output is None and (len(self.run) > 1 or self.tta):
            raise UsageError("--output is missing; results of several runs, or with --tta, need a folder of their own")
        if self.recalibration is not None and (self.output is not None or self.threshold_rule is not None):
            raise UsageError("--recalibration takes one run and its threshold; leave --output and --threshold_rule out")
        if self.robustness and self.output is not None:
            raise UsageError("--robustness takes one run as it is; leave --output and --tta out")
        if self.threshold_rule is not None:
            parse_rule(self.threshold_rule)
        check_prevalence(self.prevalence)


@dataclass(frozen=True)
class RecalibrateConfig:
    """Fit the probabilities and the thresholds of a run to a small labelled sample of another source.

    Two classes get a temperature, a bias and a threshold, as does each finding that enough patients have and lack.
    Three or more classes get one temperature and a bias each; the class of the highest new probability is called.

    The result is written beside those of the run, to RUN/recalibrations/NAME.json; `predict`, `evaluate` and `export`
    use it with --recalibration NAME, and without that flag the run's own numbers. What is measured with it on the
    images or patients of the sample counts as development, not as external validation: use one split here, another to
    evaluate.
    """

    run: str
    """Run folder that `trainer train` wrote."""
    data: str
    """Dataset folder with the sample, prepared with the options of the run's dataset."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Split that is the sample; all: the three together."""
    name: str | None = None
    """Name of the recalibration; if not given, that of the dataset folder."""
    threshold_rule: str | None = None
    """Rule to choose the thresholds on the sample, see `train --help`; if it is a probability, it is applied to the
    recalibrated probabilities. If not given, the rule of the run. Not for three or more classes."""
    batch_size: int = 64
    """Images in a step; does not change the result."""
    stage_dir: str | None = None
    """Folder on this machine that the shards are downloaded to first and kept in; see `train --help`."""

    def __post_init__(self) -> None:
        check_at_least(self, batch_size=1)
        if self.threshold_rule is not None:
            parse_rule(self.threshold_rule)
        if self.name is not None and not re.fullmatch(r"\w[\w.-]*", self.name):
            raise UsageError(f"--name is {self.name}; expected letters, digits, dots, dashes and underscores")


@dataclass(frozen=True)
class ProbeConfig:
    """Fit a linear probe: a logistic regression on the features of a frozen network.

    scikit-learn standardizes the features, reduces them by PCA and fits the logistic regression. The run that is
    written holds the network with all three as its last layer; every command takes it like any other run.
    """

    data: str
    """Dataset folder that `beam_prep prepare` wrote."""
    output: str
    """Folder for the run; it must be empty or absent, see --overwrite."""
    arch: Arch | None = None
    """Network that computes the features; instead of it, --run. The features are taken after the global average pooling
    (vgg19, inception_resnet_v2) or before the last layer."""
    weights: str = "imagenet"
    """Weights of --arch, see `train --help`; a network without pretrained weights has random ones."""
    run: str | None = None
    """Run folder whose network computes the features, without its last layer; instead of --arch."""
    image_size: int = 90
    """Side of the images, px; one of the dataset's image sizes. With --run, the image size of the run."""
    pca_components: int = 100
    """Number of principal components of the features that the regression uses."""
    folds: int = 5
    """Number of patient folds of the training images that choose the regularization of the regression."""
    class_weights: bool = True
    """Weight the K classes by n / (K n_class); of each finding, the present and the absent."""
    threshold_rule: str = "0.5"
    """Rule to choose the threshold on the validation images; see `train --help`."""
    prevalence: float | None = None
    """Share of the positive class (by default PNEUMONIA) among future patients, 0 to 1: PPV and NPV are stated for it
    too."""
    fold: str | None = None
    """Fold k/K of a cross-validation by patient, see `train --help`; if not given, the fold of --run."""
    evaluate_test: bool = True
    """Evaluate on the test images at the end. Off, no test image is read: who chooses among runs must not see them."""
    seed: int = 0
    """Seed of the folds and of random weights."""
    batch_size: int = 64
    """Images in a step; does not change the result."""
    stage_dir: str | None = None
    """Folder on this machine that the shards are downloaded to first and kept in; see `train --help`."""
    overwrite: bool = False
    """Replace the run in the output folder."""

    def __post_init__(self) -> None:
        check_at_least(self, pca_components=1, folds=2, batch_size=1, seed=0)
        if self.run == self.output:
            raise UsageError(f"--output {self.output} is the --run whose network is probed; name another folder")
        self.network()
        if self.fold is not None:
            Fold.parse(self.fold)
        parse_rule(self.threshold_rule)
        check_prevalence(self.prevalence)

    def network(self) -> TrainConfig | None:
        """Returns the config from which `trainer.models.build` makes the network of `arch`; None with `run`.

        Raises:
            UsageError: not just one of `arch` and `run` is given, or the network can't be built at the image size.
        """
        if (self.arch is None) == (self.run is None):
            raise UsageError("expected a network, from either --arch or --run; name one of them")
        if self.arch is None:
            return None
        return TrainConfig(
            data=self.data, output=self.output, arch=self.arch, image_size=self.image_size, weights=self.weights
        )


@dataclass(frozen=True)
class PresetsConfig:
    """Show the presets of `train --preset` with their settings and what the settings do."""


@dataclass(frozen=True)
class PredictConfig:
    """Predict image files with a run and print a row for each file on stdout."""

    files: tuple[str, ...]
    """Image files (DICOM, JPEG, PNG, TIFF, BMP), or folders of them."""
    run: str
    """Run folder that `trainer train` wrote."""
    recalibration: str | None = None
    """Name of the recalibration of the run to use, see `trainer recalibrate`; if not given, the run's own threshold and
    temperature are used."""
    tta: bool = False
    """Average over each image and its mirror image (test-time augmentation), as a run trained with --tta always
    does. Threshold and temperature of another run are kept, which were fitted without mirror images."""
    format: Literal["csv", "jsonl"] = "csv"
    """Format of the rows: CSV with a header, or one JSON object in each line."""
    batch_size: int = 64
    """Images in a step; does not change the result."""
    max_seconds_per_image: float = 60.0
    """Processor time, in seconds, that decoding a file may take; a file that takes longer gets the error too_slow."""

    def __post_init__(self) -> None:
        _check_files(self.files)
        check_at_least(self, batch_size=1)
        if not self.max_seconds_per_image > 0:
            raise UsageError(f"--max_seconds_per_image is {self.max_seconds_per_image}; expected more than 0, e.g. 60")


@dataclass(frozen=True)
class ExplainConfig:
    """Show the regions of image files for which a run predicts a class (Grad-CAM)."""

    files: tuple[str, ...]
    """Image files (DICOM, JPEG, PNG, TIFF, BMP), or folders of them."""
    run: str
    """Run folder that `trainer train` wrote."""
    output: str
    """Folder for the pictures and a page of them; it must be empty or absent."""
    class_name: str | None = None
    """Class or finding whose evidence the heat maps show. If not given, the positive one of two classes; of several
    classes or findings the most probable one of each image."""

    def __post_init__(self) -> None:
        _check_files(self.files)


@dataclass(frozen=True)
class ExportConfig:
    """Export a run for other programs: as SavedModel and Keras file, ONNX, or LiteRT; none of them needs this project.

    `model.json` and `README.md`, a model card for the Hugging Face Hub, are written beside them.
    """

    run: str
    """Run folder that `trainer train` wrote."""
    output: str
    """Folder for the export; it must be empty or absent."""
    format: tuple[Literal["savedmodel", "onnx", "litert"], ...] = ("savedmodel",)
    """Formats to write: savedmodel (takes JPEG and PNG files, with model.keras beside it), onnx and litert (take
    prepared images, in float32, checked against the network to 1e-5)."""
    license: str | None = None
    """Licence of the model as the Hugging Face Hub names it, such as cc-by-4.0, for the README. If not given, the
    README asks for one."""
    hub_dataset: str | None = None
    """Name of the dataset on the Hugging Face Hub, OWNER/NAME, for the README; leave it out if it is not there."""
    recalibration: str | None = None
    """Name of the recalibration of the run to use, see `trainer recalibrate`; if not given, the run's own threshold and
    temperature are used."""

    def __post_init__(self) -> None:
        if not self.format or len(set(self.format)) < len(self.format):
            found = " ".join(self.format) or "none"
            raise UsageError(f"--format: expected one format or several different ones, found {found}")
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise UsageError(f"--license is {self.license}; expected a name of the Hub, such as cc-by-4.0")
        if self.hub_dataset is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub_dataset):
            raise UsageError(f"--hub_dataset is {self.hub_dataset}; expected a name of the Hub, OWNER/NAME")


def _check_files(files: tuple[str, ...]) -> None:
    if not files:
        raise UsageError("expected image files or folders, found none; name at least one")


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs that were evaluated on the same images: a table, paired differences and a page.

    Every run is compared with the first: the difference of their AUROCs, with an interval and a p value over patients,
    and the p value corrected for the number of runs (Holm).
    """

    runs: tuple[str, ...]
    """Run folders, two or more; all others are compared with the first."""
    output: str | None = None
    """HTML file to write the page to; if not given, only the table is printed."""
    split: str = "test"
    """Split whose results are compared: test, val, train, all (the splits of another dataset together), or
    external-NAME for a set that the runs followed by --external."""
    allow_different: bool = False
    """Accept runs that were evaluated on other images; they are marked and have no difference."""

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise UsageError(f"expected two runs or more to compare, found {len(self.runs)}")
        if self.split not in ("test", "val", "train", "all") and not self.split.startswith("external-"):
            raise UsageError(f"--split is {self.split}; expected test, val, train, all or external-NAME")
