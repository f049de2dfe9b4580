"""Defines the flags of all commands but `prepare`: types, defaults, units and help. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beam_prep.console.errors import UsageError


@dataclass(frozen=True)
class SynthesizeConfig:
    """Make synthetic chest X-ray phantoms in the folder layout of the Kaggle set."""

    output: str
    """The folder for the images; it must be empty or absent."""
    num_images: int = 400
    """The number of images, train and test together."""
    image_px: int = 512
    """The width and height of an image, px (at least 64)."""
    seed: int = 0
    """The seed of all random numbers; the same seed gives the same bytes."""

    def __post_init__(self) -> None:
        if self.image_px < 64:
            raise UsageError(f"--image_px is {self.image_px}; a phantom needs at least 64 px")


@dataclass(frozen=True)
class DownloadConfig:
    """Download a public data set from Kaggle, which takes an account there and the extra `kaggle`."""

    output: str
    """The folder for the files of the data set; it must be empty or absent."""
    dataset: str = "chest-xray-pneumonia"
    """The data set: chest-xray-pneumonia (1.2 GB), or any other one as Kaggle writes it, OWNER/NAME."""


@dataclass(frozen=True)
class VerifyConfig:
    """Compare every shard of a dataset with its manifest; list the differences and exit with 1 if there are any."""

    dataset: str
    """The dataset folder that `prepare` wrote."""


@dataclass(frozen=True)
class TfdsConfig:
    """Describe a dataset to TensorFlow Datasets, so that tfds.builder_from_directory opens it; no record changes."""

    dataset: str
    """The dataset folder that `prepare` wrote."""


@dataclass(frozen=True)
class ReportConfig:
    """Write the dataset report (HTML): counts, sizes, shortcuts, samples, rejected files, duplicates."""

    dataset: str
    """The dataset folder that `prepare` wrote."""
    input: str | None = None
    """The folder with the raw images, to show them before equalization, and rejected files and duplicates."""
    pictures: Literal["auto", "on", "off"] = "auto"
    """The pictures of images on the page of the dataset: auto does what `prepare` was told, which by default is to show
    none of an anonymous dataset; --pictures shows them, --no_pictures does not."""
