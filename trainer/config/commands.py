"""What the commands take that need no training loop; `train` is in `config/train.py`. Standard library only."""

from __future__ import annotations

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
    """Evaluate a run, or several as one, on a split of a dataset and write its report anew.

    Several runs, or an image with its mirror image, are one model whose probability is the mean of theirs. Its
    threshold and temperature come from the validation images of the runs' own dataset, evaluated along with the split.
    """

    run: tuple[str, ...]
    """Run folder, as `trainer train` wrote it; once for each run."""
    data: str
    """Dataset folder; if the run was trained on another one, the results go to RUN/evaluations/."""
    output: str | None = None
    """Folder for the results of several runs, or with --tta; a single run without it keeps its results itself."""
    tta: bool = False
    """Test-time augmentation: the mean over each image and its mirror image."""
    split: Literal["test", "val", "train"] = "test"
    """Which split."""
    threshold_rule: str | None = None
    """Choose the threshold anew on the run's own validation images, see `train --help`; without it, the run's (and 0.5
    for several runs)."""
    prevalence: float | None = None
    """Share of PNEUMONIA among the patients to come, 0 to 1: PPV and NPV are stated for it too."""
    robustness: bool = False
    """Evaluate on spoilt images too (exposure, noise, JPEG, rotation, crops, sizes, no equalization): how far AUROC
    falls, in metrics.json and the report, until the split is evaluated anew."""
    batch_size: int = 64
    """Images a step."""
    stage_dir: str | None = None
    """Folder of this machine that the shards are downloaded to first, and kept in; see `train --help`."""

    def __post_init__(self) -> None:
        if not self.run:
            raise UsageError("--run is missing; name a run folder, once for each run")
        if len(set(self.run)) < len(self.run):
            raise UsageError(f"--run names a run twice: {', '.join(self.run)}")
        if self.output is None and (len(self.run) > 1 or self.tta):
            raise UsageError("--output is missing; results of several runs, or with --tta, need a folder of their own")
        if self.robustness and self.output is not None:
            raise UsageError("--robustness takes one run as it is; leave --output and --tta out")
        if self.threshold_rule is not None:
            parse_rule(self.threshold_rule)
        check_prevalence(self.prevalence)


@dataclass(frozen=True)
class ProbeConfig:
    """Fit a linear probe: logistic regression on what a network sees in each image, as it is.

    Features are standardized, reduced by PCA, and told apart by a logistic regression, all of scikit-learn. Folded into
    one layer, they end the network in the run that is written: all commands take it as any run.
    """

    data: str
    """Dataset folder, as `beam_prep prepare` wrote it."""
    output: str
    """Folder for the run; it must be empty or absent, see --overwrite."""
    arch: Arch | None = None
    """Network to look at the images with, or see --run. vgg19 and inception_resnet_v2: after their global average
    pooling; the others: before their last layer."""
    weights: str = "imagenet"
    """Of --arch; see `train --help`. Networks without pretrained weights are random ones here."""
    run: str | None = None
    """Run folder, whose network is taken up to its last layer, instead of --arch."""
    image_size: int = 90
    """Which of the dataset's image sizes, px; with --run it is that of the run."""
    pca_components: int = 100
    """How many principal components of the features go into the regression."""
    folds: int = 5
    """Patient folds of the training images, by which the strength of the regression is chosen."""
    class_weights: bool = True
    """Weigh the classes against each other: n / (2 n_class)."""
    threshold_rule: str = "0.5"
    """Chosen on validation; see `train --help`."""
    prevalence: float | None = None
    """Share of PNEUMONIA among the patients to come, 0 to 1: PPV and NPV are stated for it too."""
    fold: str | None = None
    """k/K, for cross-validation by patient; see `train --help`. A --run that was trained in a fold is probed in it."""
    evaluate_test: bool = True
    """Evaluate on the test images at the end. Off, none is read: who compares runs to choose one must not see them."""
    seed: int = 0
    """Of the folds, and of random weights."""
    batch_size: int = 64
    """Images a step; does not change the result."""
    stage_dir: str | None = None
    """Folder of this machine that the shards are downloaded to first, and kept in; see `train --help`."""
    overwrite: bool = False
    """Replace the run that is in the output folder."""

    def __post_init__(self) -> None:
        check_at_least(self, pca_components=1, folds=2, batch_size=1, seed=0)
        if self.run == self.output:
            raise UsageError(f"--output {self.output}: is the --run whose network is wanted; name another folder")
        self.network()
        if self.fold is not None:
            Fold.parse(self.fold)
        parse_rule(self.threshold_rule)
        check_prevalence(self.prevalence)

    def network(self) -> TrainConfig | None:
        """The network of `arch`, as `trainer.models.build` takes it; None if it is that of a run.

        Raises:
            UsageError: none is named, or two; or it can't be built at the image size.
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
    """Show the presets of `train --preset`: what each sets, and what that does."""


@dataclass(frozen=True)
class PredictConfig:
    """Predict image files with a run: one row a file on stdout."""

    files: tuple[str, ...]
    """Image files (DICOM, JPEG, PNG, TIFF, BMP), or folders of them."""
    run: str
    """Run folder, as `trainer train` wrote it."""
    tta: bool = False
    """Test-time augmentation: the mean over each image and its mirror image. Threshold and temperature are those of the
    run, found without it."""
    format: Literal["csv", "jsonl"] = "csv"
    """Of the rows: CSV with a header, or one JSON object a line."""
    batch_size: int = 64
    """Images a step; does not change the result."""

    def __post_init__(self) -> None:
        _check_files(self.files)
        check_at_least(self, batch_size=1)


@dataclass(frozen=True)
class ExplainConfig:
    """Show where in image files a run finds what speaks for PNEUMONIA (Grad-CAM)."""

    files: tuple[str, ...]
    """Image files (DICOM, JPEG, PNG, TIFF, BMP), or folders of them."""
    run: str
    """Run folder, as `trainer train` wrote it."""
    output: str
    """Folder for the pictures and a page of them; it must be empty or absent."""

    def __post_init__(self) -> None:
        _check_files(self.files)


@dataclass(frozen=True)
class ExportConfig:
    """Make a SavedModel of a run that takes JPEG and PNG files, and a Keras file; neither needs this project."""

    run: str
    """Run folder, as `trainer train` wrote it."""
    output: str
    """Folder for the export; it must be empty or absent."""


def _check_files(files: tuple[str, ...]) -> None:
    if not files:
        raise UsageError("expected image files or folders, found none; name at least one")


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs that were evaluated on the same images: table, paired differences, and a page.

    Each run is set against the first: the difference of the AUROC, with its interval and p value by a bootstrap over
    patients, the same resamples for both.
    """

    runs: tuple[str, ...]
    """Run folders, two or more; the first is what the others are set against."""
    output: str | None = None
    """HTML file to write the page to; without it, the table is printed only."""
    split: Literal["test", "val", "train"] = "test"
    """Whose results."""
    allow_different: bool = False
    """Take runs that were evaluated on other images too, marked, and without a difference."""

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise UsageError(f"expected two runs or more to compare, found {len(self.runs)}")
