"""Defines the flags of `prepare`: their types, defaults, units and help. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beam_prep.console.command import FlagGroups

Layout = Literal[
    "folders", "kaggle", "mendeley", "nih", "chexpert", "mimic", "rsna", "vindr", "padchest", "covid_radiography",
    "montgomery",
]  # fmt: skip
"""The layout of the input: class folders, or the name of a public set."""


@dataclass(frozen=True)
class PrepareFlags:
    """The flags of `prepare` as a command line gives them; `PrepConfig` checks that they go together."""

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
    layout: Layout = "folders"
    """The public set that the input is, as it is downloaded: its tables tell labels, splits, patients and views (see
    docs/preparation.md). folders: class folders tell the labels, and the names of known sets the patients."""
    classes: tuple[str, ...] = ()
    """The names of the classes, in the order of the labels: of two, the second is the positive one. The images are in
    folders of these names (in any case), or the table of --metadata_csv names them; images of other classes are left
    out. Default: NORMAL PNEUMONIA. `auto` takes the classes that are there."""
    task: Literal["auto", "binary", "multiclass", "multilabel"] = "auto"
    """The meaning of the labels. binary: one of two classes is true of an image; multiclass: one of three or more;
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
    """The treatment of findings that --label_columns or the tables of a --layout call uncertain (-1): ignore takes them
    for not known."""
    val_fraction: float = 0.2
    """The share of the patients outside the test folder that become the validation split."""
    test_fraction: float = 0.0
    """The share of the patients that become the test split; only where there is no test folder."""
    keep_splits: bool = False
    """True to take train, val and test from folders of these names; by default train and val are divided anew."""
    stratify: bool = False
    """True to meet the fractions exactly in each class, or as nearly as can be for each finding; a patient may then
    change its split when images are added."""
    group_regex: str | None = None
    """A regular expression whose first group is the patient in a path. Without it, the PatientID of a DICOM file is the
    patient; for other files, the names of folders and files in well-known public sets tell the patient."""
    group_from: Literal["names", "folder"] = "names"
    """The part of a path that tells the patient: names of well-known sets, or the folder where each holds one patient
    (the outermost folder below the folder of the class; folders of one name are one patient)."""
    unknown_patient: Literal["own", "reject"] = "own"
    """The treatment of an image whose patient is not known: it counts as a patient of its own, or is rejected."""
    stratify_domains: bool = False
    """True to meet the fractions so for each class or finding of each domain; as with --stratify, a patient may then
    change its split when images are added."""
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
            *("input", "output", "image_sizes", "equalization", "val_fraction"),
            *("layout", "classes", "metadata_csv", "anonymize", "overwrite"),
        ),
        groups={
            "data": ("input", "layout", "metadata_csv", "domain_column", "subgroups"),
            "labels": (
                *("classes", "task", "label_map", "label_regex"),
                *("label_column", "label_columns", "uncertain"),
            ),
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
