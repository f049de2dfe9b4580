"""What each command takes: flags, types, defaults, units and help in one place. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path


@dataclass(frozen=True)
class SynthesizeConfig:
    """Make synthetic chest X-ray phantoms in the folder layout of the Kaggle set."""

    output: str
    """Folder to write into; it must be empty or absent."""
    num_images: int = 400
    """How many images, train and test together."""
    image_px: int = 512
    """Width and height of an image, px (at least 64)."""
    seed: int = 0
    """The same seed gives the same bytes."""

    def __post_init__(self) -> None:
        if self.image_px < 64:
            raise UsageError(f"--image_px is {self.image_px}; a phantom needs at least 64 px")


@dataclass(frozen=True)
class DownloadConfig:
    """Download a public data set from Kaggle; needs an account there and the extra `kaggle`."""

    output: str
    """Folder for its files; it must be empty or absent."""
    dataset: str = "chest-xray-pneumonia"
    """chest-xray-pneumonia (1.2 GB), or any other as Kaggle writes it: OWNER/NAME."""


@dataclass(frozen=True)
class PrepConfig:
    """Equalize, resize and shard images into TFRecords (Apache Beam).

    DICOM, JPEG, PNG, TIFF and BMP images are found by class folder (NORMAL, PNEUMONIA) anywhere under the input; a
    `test` folder stays the test set.
    Beam's own options may follow, e.g. --runner DirectRunner --direct_num_workers 2.
    """

    input: str
    """Folder with the raw images, as the Kaggle set lays them out; this and all other paths may be gs://BUCKET/NAME."""
    output: str
    """Folder for the dataset; it must be empty or absent, see --overwrite."""
    image_sizes: tuple[int, ...] = (90, 224)
    """Sizes to write, px; each image is decoded and equalized once for all of them."""
    equalization: Literal["hist", "clahe", "none"] = "hist"
    """Contrast at full size, before the resize: histogram equalization, the same by region and limited, or none."""
    val_fraction: float = 0.2
    """Share of the patients outside the test folder that become the validation split."""
    test_fraction: float = 0.0
    """Share of the patients that become the test split; only where there is no test folder."""
    stratify: bool = False
    """Meet the fractions exactly in each class; a patient may then change its split when images are added."""
    group_regex: str | None = None
    """Where a path names the patient: a regular expression, its first group; by default the Kaggle set's file names."""
    metadata_csv: str | None = None
    """CSV with the columns path, label, group, split: what it says of a file goes before what its path says."""
    max_rejected_fraction: float = 0.05
    """Stop, before there is a dataset, if more than this share of the inputs is rejected."""
    salt_file: str | None = None
    """File whose content salts the hashes of patients and file names; a fixed salt without."""
    anonymize: bool = False
    """Write hashes instead of file names into records and lists."""
    num_shards: int = 0
    """Shards per split (at most one a record); 0 picks by size."""
    encoding: Literal["raw", "png"] = "raw"
    """How a record holds its pixels; raw is fastest to read, png is about half the size."""
    overwrite: bool = False
    """Replace the dataset that is in the output folder."""
    wait: bool = True
    """Follow a job on Dataflow to its end and show its counters; --no_wait submits it and returns."""

    def __post_init__(self) -> None:
        for place in (self.input, self.output):
            to_path(place)
        if not self.image_sizes:
            raise UsageError("--image_sizes is empty; give at least one size in px, e.g. --image_sizes 90")
        for size in self.image_sizes:
            if not 16 <= size <= 4096:
                raise UsageError(f"--image_sizes {size}: expected 16 to 4096 px")
        object.__setattr__(self, "image_sizes", tuple(sorted(set(self.image_sizes))))
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"--val_fraction is {self.val_fraction}; expected between 0 and 1, e.g. 0.2")
        if not 0 <= self.test_fraction < 1:
            raise UsageError(f"--test_fraction is {self.test_fraction}; expected 0 or more and less than 1, e.g. 0.1")
        if not 0 <= self.max_rejected_fraction <= 1:
            raise UsageError(f"--max_rejected_fraction is {self.max_rejected_fraction}; expected 0 to 1, e.g. 0.05")
        if self.group_regex is not None:
            try:
                re.compile(self.group_regex)
            except re.error as error:
                raise UsageError(f"--group_regex {self.group_regex}: {error}") from None
        if self.num_shards < 0:
            raise UsageError(f"--num_shards is {self.num_shards}; expected 0 (pick by size) or more")

    def shaping_options(self) -> dict[str, Any]:
        """The part that shapes the records and their splits, for the manifest: no path of this machine, no salt."""
        return {
            "image_sizes": list(self.image_sizes),
            "equalization": self.equalization,
            "encoding": self.encoding,
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "stratify": self.stratify,
            "group_regex": self.group_regex,
            "num_shards": self.num_shards,
            "anonymize": self.anonymize,
        }


@dataclass(frozen=True)
class VerifyConfig:
    """Read every shard of a dataset against its manifest; exit 1 and say what differs."""

    dataset: str
    """Dataset folder, as `prepare` wrote it."""


@dataclass(frozen=True)
class ReportConfig:
    """Write the dataset report (HTML): counts, sizes, shortcuts, samples, rejected files, duplicates."""

    dataset: str
    """Dataset folder, as `prepare` wrote it."""
    input: str | None = None
    """Folder with the raw images, for pictures before equalization, of rejected files and of duplicates."""
