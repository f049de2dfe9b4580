"""Defines the flags of all commands: types, defaults, units and help in one place. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from beam_prep.console.command import FlagGroups
from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import to_path

SALT_FLAGS = "--salt_file FILE names a secret one, --public_salt takes the one that everybody knows"
"""The advice where a job must name the salt of its hashes."""

AUTO = "auto"
"""The value of `--classes` that takes the classes from the input."""
MAX_CLASSES = 100
"""The largest number of classes or findings."""


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
class PrepConfig:
    """Equalize, resize and shard images into TFRecords (Apache Beam).

    DICOM, JPEG, PNG, TIFF, BMP, GIF, WebP and JPEG 2000 images, whatever their suffix, are read from class folders
    (NORMAL, PNEUMONIA; see --classes) anywhere below the input; the images of a `test` folder become the test set.
    Beam's own options may follow, e.g. --runner DirectRunner --direct_num_workers 2.
    """

    input: str
    """The folder with the raw images, in class folders as in the Kaggle set; all paths may be gs://BUCKET/NAME."""
    output: str
    """The folder for the dataset; it must be empty or absent, see --overwrite."""
    image_sizes: tuple[int, ...] = (90, 224)
    """The image sizes of the dataset, px; each image is decoded and equalized once for all sizes."""
    equalization: Literal["hist", "hist_full", "clahe", "none"] = "hist"
    """The equalization before the resize. hist: by histogram as scikit-image does it, so that the darkest grey tells
    the share of black background; hist_full: by histogram, from 0 on; clahe: by region with limited contrast; none."""
    fit: Literal["squash", "pad", "crop"] = "squash"
    """The way an image becomes a square: squash gives up its aspect ratio, pad adds black at two sides, crop cuts two
    sides off."""
    classes: tuple[str, ...] = ()
    """The names of the classes, in the order of the labels: of two, the second is the positive one. The images are in
    folders of these names (in any case), or the table of --metadata_csv names them; images of other classes are left
    out. Default: NORMAL PNEUMONIA. `auto` takes the classes that are there."""
    task: Literal["auto", "binary", "multiclass", "multilabel"] = "auto"
    """What the labels say. binary: one of two classes is true of an image; multiclass: one of three or more;
    multilabel: any number of findings, which --metadata_csv tells; auto: by the number of --classes, and multilabel
    where --label_columns is given."""
    label_map: str | None = None
    """A file of YAML or JSON that says what folders or values of a table stand for: a class, or null to leave their
    images out, such as {bacteria: PNEUMONIA, lateral: null}."""
    label_regex: str | None = None
    """A regular expression to search the path of an image for, whose group `label` (or first group) is the class, in
    place of the folder. (NORMAL|bacteria|virus) reads three classes from the names of the Kaggle set."""
    label_column: str | None = None
    """The column of --metadata_csv with the class (default: label), or with all findings of the multilabel task, as in
    Mass|Edema, where `No Finding` stands for none."""
    label_columns: tuple[str, ...] = ()
    """The columns of --metadata_csv that hold a finding each: 1, 0, -1 for uncertain, empty for not known. They are in
    the order of --classes, which are their titles by default, and the other way round."""
    uncertain: Literal["ignore", "positive", "negative"] = "ignore"
    """The treatment of findings that --label_columns call uncertain (-1): ignore takes them for not known."""
    val_fraction: float = 0.2
    """The share of the patients outside the test folder that become the validation split."""
    test_fraction: float = 0.0
    """The share of the patients that become the test split; only where there is no test folder."""
    keep_splits: bool = False
    """True to take train, val and test from folders of these names; by default train and val are divided anew."""
    stratify: bool = False
    """True to meet the fractions exactly in each class; a patient may then change its split when images are added."""
    group_regex: str | None = None
    """A regular expression whose first group is the patient in a path. Without it, the PatientID of a DICOM file is the
    patient; for other files, the names of folders and files in well-known public sets tell the patient."""
    group_from: Literal["names", "folder"] = "names"
    """The part of a path that tells the patient: names of well-known sets, or the folder where each holds one patient
    (the outermost folder below the folder of the class; folders of one name are one patient)."""
    unknown_patient: Literal["own", "reject"] = "own"
    """The treatment of an image whose patient is not known: it counts as a patient of its own, or is rejected."""
    stratify_domains: bool = False
    """True to meet the fractions exactly in each class of each domain; as with --stratify, a patient may then change
    its split when images are added."""
    metadata_csv: str | None = None
    """A CSV file (commas, semicolons or tabs) with the columns path, label, group (the patient), split and domain,
    which go before the path. --label_column and --label_columns name other columns of labels."""
    domain_column: str = "domain"
    """The column of --metadata_csv that tells where an image comes from: a hospital, a scanner, a year. Without it, the
    file names of some public sets tell it. Domains are kept in the records, with --anonymize at most 20 of them."""
    subgroups: tuple[Literal["age", "sex", "view"], ...] = ()
    """The traits of the patient that records keep, to measure results by: age (in bands), sex, view, from columns of
    --metadata_csv or DICOM headers. Nothing is kept unless it is named here, with --anonymize or without."""
    max_rejected_fraction: float = 0.05
    """The share of rejected inputs above which the job stops without a dataset."""
    max_blank_fraction: float = 0.99
    """The share of pixels of nearly one grey value above which an image is rejected as blank; 1 keeps blank images."""
    max_seconds_per_image: float = 60.0
    """The processor time, in seconds, that decoding an image may take; an image that takes longer is rejected as
    too_slow."""
    salt_file: str | None = None
    """The file whose content salts the hashes of patients and file names. By default the salt is the public one where
    the names of a known public set tell all patients, and else the secret one of this site (`cxrflow/salt` in the
    user's configuration folder, made on first use). A pod and Dataflow need this flag or --public_salt."""
    public_salt: bool = False
    """True to hash with the salt that everybody knows: anybody who can list the possible patients can then tell whose
    each hash is."""
    anonymize: bool = False
    """True to write hashes instead of file names into records and lists; text in the pixels stays."""
    pictures: Literal["auto", "on", "off"] = "auto"
    """The pictures of images on the pages of the dataset and of runs: auto shows them unless --anonymize is given, as
    text may be burnt into them; --pictures shows them, --no_pictures does not."""
    num_shards: int = 0
    """The number of shards of a split (at most one a record); 0 picks it by size."""
    encoding: Literal["raw", "png"] = "raw"
    """The encoding of the pixels in a record; raw is fastest to read, png is about half the size."""
    overwrite: bool = False
    """True to replace the dataset in the output folder."""
    wait: bool = True
    """True to follow a job on Dataflow to its end and show its counters; --no_wait submits the job and returns."""

    flag_groups = FlagGroups(
        main=(
            *("input", "output", "image_sizes", "equalization", "fit", "val_fraction"),
            *("metadata_csv", "group_regex", "anonymize", "overwrite"),
        ),
        groups={
            "data": ("input", "metadata_csv", "domain_column", "subgroups"),
            "splits": (
                *("val_fraction", "test_fraction", "keep_splits", "stratify", "stratify_domains"),
                *("group_regex", "group_from", "unknown_patient"),
            ),
            "images": (
                *("image_sizes", "equalization", "fit"),
                *("max_rejected_fraction", "max_blank_fraction", "max_seconds_per_image"),
            ),
            "privacy": ("salt_file", "public_salt", "anonymize", "pictures"),
            "files": ("output", "num_shards", "encoding", "overwrite", "wait"),
        },
    )

    def __post_init__(self) -> None:
        for place in (self.input, self.output):
            to_path(place)
        if not self.image_sizes:
            raise UsageError("--image_sizes is empty; give at least one size in px, e.g. --image_sizes 90")
        for size in self.image_sizes:
            if not 16 <= size <= 4096:
                raise UsageError(f"--image_sizes {size}: expected 16 to 4096 px")
        object.__setattr__(self, "image_sizes", tuple(sorted(set(self.image_sizes))))
        object.__setattr__(self, "subgroups", tuple(sorted(set(self.subgroups))))
        self._check_labels()
        if self.metadata_csv is None and self.domain_column != type(self).domain_column:
            raise UsageError(f"--domain_column {self.domain_column} names a column of --metadata_csv, which is missing")
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"--val_fraction is {self.val_fraction}; expected between 0 and 1, e.g. 0.2")
        if not 0 <= self.test_fraction < 1:
            raise UsageError(f"--test_fraction is {self.test_fraction}; expected 0 or more and less than 1, e.g. 0.1")
        if not 0 <= self.max_rejected_fraction <= 1:
            raise UsageError(f"--max_rejected_fraction is {self.max_rejected_fraction}; expected 0 to 1, e.g. 0.05")
        if not 0 <= self.max_blank_fraction <= 1:
            raise UsageError(f"--max_blank_fraction is {self.max_blank_fraction}; expected 0 to 1, e.g. 0.99")
        if not self.max_seconds_per_image > 0:
            raise UsageError(f"--max_seconds_per_image is {self.max_seconds_per_image}; expected more than 0, e.g. 60")
        if self.group_regex is not None:
            try:
                re.compile(self.group_regex)
            except re.error as error:
                raise UsageError(f"--group_regex {self.group_regex}: {error}") from None
            if self.group_from != "names":
                raise UsageError(f"--group_from {self.group_from} and --group_regex both tell patients; leave one out")
        if self.public_salt and self.salt_file is not None:
            raise UsageError(f"--public_salt and --salt_file {self.salt_file}: two salts; leave one out")
        if self.num_shards < 0:
            raise UsageError(f"--num_shards is {self.num_shards}; expected 0 (pick by size) or more")

    def _check_labels(self) -> None:
        """Raises a `UsageError` if the flags of labels are wrong or do not go together."""
        names = self.classes or self.label_columns
        said = f"--classes {' '.join(names)}"
        for name in names:
            if not name.strip() or name != name.strip() or len(name) > 64 or not name.isprintable() or "|" in name:
                raise UsageError(f"--classes {name!r}: expected at most 64 letters in one line, without |")
        if AUTO in names and len(names) > 1:
            raise UsageError(f"{said}: auto stands alone, it takes the classes that are there")
        if len({name.casefold() for name in names}) < len(names):
            raise UsageError(f"{said}: expected different names, also in small letters")
        if len(names) > MAX_CLASSES:
            raise UsageError(f"--classes: expected at most {MAX_CLASSES} names, found {len(names)}")
        if self.label_columns and AUTO not in names and len(self.label_columns) != len(names):
            raise UsageError(f"--label_columns names {len(self.label_columns)} columns for {len(names)} --classes")
        if self.metadata_csv is None and (self.label_column or self.label_columns):
            flag = "--label_column" if self.label_column else "--label_columns"
            raise UsageError(f"{flag} names columns of --metadata_csv, which is missing")
        if self.label_regex is not None:
            try:
                re.compile(self.label_regex)
            except re.error as error:
                raise UsageError(f"--label_regex {self.label_regex}: {error}") from None
        if self.task == "multilabel" or (self.task == "auto" and self.label_columns):
            self._check_findings()
        else:
            self._check_number(len(names) or 2)

    def _check_number(self, number: int) -> None:
        """Raises a `UsageError` if the number of the classes is wrong, where one class is true of an image."""
        if wrong := [name for name in ("label_columns", "uncertain") if self._is_given(name)]:
            raise UsageError(f"--{wrong[0]} is for findings; add --task multilabel")
        expected = {"binary": number == 2, "multiclass": number > 2}.get(self.task, number > 1)
        if AUTO not in self.classes and not expected:
            numbers = {"binary": "2", "multiclass": "3 or more"}.get(self.task, "2 or more")
            raise UsageError(
                f"--task {self.task}: expected {numbers} --classes, found {number}; --task multilabel takes any number"
            )

    def _check_findings(self) -> None:
        """Raises a `UsageError` if flags do not go with the multilabel task."""
        if not (self.classes or self.label_columns):
            raise UsageError("--task multilabel: name the findings by --classes (or auto) or by --label_columns")
        if self.metadata_csv is None:
            raise UsageError("--task multilabel: the findings come from a table; name it by --metadata_csv")
        if self.label_columns and (AUTO in self.classes or self.label_column or self.label_map):
            raise UsageError("--label_columns does not go with --classes auto, --label_column or --label_map")
        for name in ("label_regex", "stratify", "stratify_domains"):
            if self._is_given(name):
                raise UsageError(f"--{name}: an image has one class for it; leave it out with --task multilabel")

    def _is_given(self, name: str) -> bool:
        """Returns True if a flag has another value than its default."""
        return bool(getattr(self, name) != getattr(type(self), name))

    def shaping_options(self) -> dict[str, Any]:
        """Returns the options that shape the records and their splits, for the manifest: no path and no salt.

        Those of the labels are left out, see `LabelRule.options`.
        """
        options = {
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
        # Flags that came later are named only where they change something: fingerprints of datasets stay as they were.
        later = (
            "keep_splits",
            "group_from",
            "unknown_patient",
            "max_blank_fraction",
            "max_seconds_per_image",
            "stratify_domains",
            "subgroups",
            "fit",
        )
        changed = {name: getattr(self, name) for name in later if getattr(self, name) != getattr(type(self), name)}
        return options | {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


@dataclass(frozen=True)
class VerifyConfig:
    """Compare every shard of a dataset with its manifest; list the differences and exit with 1 if there are any."""

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
