"""Finds the input images, and reads class, split and patient group from their paths.

The PatientID of a DICOM file is read later, from its header (`pipeline/prepare_image.py`).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.input_counts import NO_LABEL, OTHER_CLASSES, POOLED, InputCount, add_up, say_left_out
from beam_prep.dataset.patient_groups import BY_CSV, BY_FOLDER, BY_REGEX, BY_TABLE
from beam_prep.dataset.schema import NO_CLASS
from beam_prep.images.formats import RASTER_SUFFIXES
from beam_prep.images.input_files import InputFiles, find_images
from beam_prep.sources.labels import DEFAULT_RULE, LEFT_OUT, LabelRule
from beam_prep.sources.layouts.registry import FOLDERS
from beam_prep.sources.layouts.table import LAYOUTS, find_domain
from beam_prep.sources.metadata_columns import DEFAULT_COLUMNS, MetadataColumns
from beam_prep.sources.metadata_csv import read_metadata
from beam_prep.sources.named_sets import LeftOut, describe_set
from beam_prep.sources.patients import KNOWN_NAMES, PatientRule
from beam_prep.sources.split_folders import folder_split
from beam_prep.storage.paths import AnyPath, to_path


@dataclass(frozen=True)
class Source:
    """An input file and what its path or a metadata file says about it.

    Attributes:
        filename: the path relative to the input folder, "/" between parts.
        label: the index of the class, or `schema.NO_CLASS` for the multilabel task; `labels.LEFT_OUT` for an image that
            is left out; None where nothing tells the label.
        split: the split that a folder of the path or a metadata file names; None leaves it to the rank of the patient.
        group: the patient in plain text, which never leaves the preparation; the file name where no patient is known.
        told_by: what told the patient, see `patient_groups`.
        domain: where the image comes from, by the metadata file or the names of a known set; empty if not known.
        age: the band of the patient's age that a metadata file tells, see `traits`; empty if not known.
        sex: the patient's sex, `F` or `M`, likewise.
        view: the view position, such as `PA`, likewise.
        findings: the value of each finding, see `schema.PRESENT`, for the multilabel task; else empty.
    """

    filename: str
    label: int | None
    split: str | None
    group: str
    told_by: str
    domain: str = ""
    age: str = ""
    sex: str = ""
    view: str = ""
    findings: tuple[int, ...] = ()

    @property
    def is_dicom(self) -> bool:
        """True if the file may be DICOM: its name has the suffix of one, or none that tells the format."""
        return not self.filename.lower().endswith(RASTER_SUFFIXES)

    @property
    def is_told_by_user(self) -> bool:
        """True if the user said how to tell the patient, which goes before the PatientID of a DICOM file."""
        return self.told_by in (BY_CSV, BY_REGEX, BY_FOLDER, BY_TABLE)

    @property
    def is_public(self) -> bool:
        """True if the name of the file is that of a known public set, and no header may name its patient."""
        return self.told_by in LAYOUTS and LAYOUTS[self.told_by].is_public and not self.is_dicom

    def to_json(self) -> str:
        """Returns one line of the listing that the pipeline reads."""
        fields = asdict(self)
        if not self.findings:
            del fields["findings"]  # datasets of before were made from lines without them
        return json.dumps(fields)

    @classmethod
    def from_json(cls, line: str) -> Source:
        """Parses a line of the listing, the inverse of `to_json`."""
        fields = json.loads(line)
        return cls(**{**fields, "findings": tuple(fields.get("findings", ()))})


def describe(
    filename: str,
    patient_rule: PatientRule = KNOWN_NAMES,
    *,
    keep_splits: bool = False,
    label_rule: LabelRule = DEFAULT_RULE,
) -> Source:
    """Reads class, split and patient group from a path.

    Args:
        filename: the path relative to the input folder.
        patient_rule: the way to tell the patient.
        keep_splits: True to take train, val and test from folders; False to take the test set only.
        label_rule: the way to tell the class.
    """
    patient, told_by = patient_rule.tell(filename)
    split = folder_split(filename)
    return Source(
        filename=filename,
        label=label_rule.of_path(filename),
        split=split if keep_splits or split == "test" else None,
        group=patient or filename,
        told_by=told_by,
        domain=find_domain(filename),
    )


def count_pooled(sources: Iterable[Source]) -> list[InputCount]:
    """Counts the images in folders of a split that is not kept, by split: they are divided anew, by patient."""
    splits = Counter(folder_split(source.filename) for source in sources if source.split is None)
    return [InputCount(POOLED, split, count) for split, count in splits.items() if split]


def leave_out(sources: Iterable[Source]) -> tuple[list[Source], list[InputCount]]:
    """Leaves out the images that are of no class that is asked for, and counts them."""
    kept, num_left_out = [], 0
    for source in sources:
        if source.label == LEFT_OUT:
            num_left_out += 1
        else:
            kept.append(source)
    return kept, [InputCount(OTHER_CLASSES, "", num_left_out)] if num_left_out else []


def find_sources(
    root: str | AnyPath,
    *,
    patient_rule: PatientRule = KNOWN_NAMES,
    metadata_csv: str | None = None,
    columns: MetadataColumns = DEFAULT_COLUMNS,
    keep_splits: bool = False,
    label_rule: LabelRule = DEFAULT_RULE,
    layout: str = FOLDERS,
) -> tuple[list[Source], list[InputCount]]:
    """Finds every image in a folder and its subfolders, see `find_images`.

    Args:
        root: the folder.
        patient_rule: the way to tell the patient of an image from its path.
        metadata_csv: a metadata file, see `read_metadata`, which takes precedence over the path.
        columns: the columns of the metadata file that are used beside those of every such file.
        keep_splits: see `describe`.
        label_rule: the way to tell the labels.
        layout: the public set whose tables tell labels, splits and traits; `FOLDERS` where folders do.

    Returns:
        The images, sorted by path, and the counts of files that are left out and of images that are pooled.

    Raises:
        UsageError: the folder is absent, can't be read, or holds no image, no class folder, or no image of a class; or
            the rule tells no patient.
    """
    root = to_path(root)
    images, counts = list_images(root)
    if layout == FOLDERS:
        sources = [
            describe(filename, patient_rule, keep_splits=keep_splits, label_rule=label_rule)
            for filename in sorted(images)
        ]
    else:
        told = describe_set(layout, root, images, label_rule, columns.traits)
        sources, of_set = _sources_of_set(told, images, patient_rule, keep_splits=keep_splits)
        counts = [*counts, *of_set]
        if not sources:
            said = "; ".join(say_left_out(add_up(of_set)))
            raise UsageError(f"--layout {layout}: none of the images in --input {root} can be used: {said}")
    if problem := patient_rule.find_problem(source.told_by for source in sources):
        raise UsageError(f"--input {root}: {problem}")
    said = f"--input {root}: {len(sources)} images"
    if metadata_csv:
        rows = read_metadata(metadata_csv, root, set(images), columns, label_rule)
        sources = [replace(source, **rows.get(source.filename, {})) for source in sources]
        said = f"--metadata_csv {metadata_csv}: has rows for {len(rows)} of {len(sources)} images"
    _check_classes(sources, label_rule, said, layout, has_csv=metadata_csv is not None)
    if metadata_csv and (num_unlabelled := sum(source.label is None for source in sources)):
        where = "there" if label_rule.labels.is_multilabel else "there nor a class folder"
        logging.warning("%s; %d have neither a label %s: rejected", said, num_unlabelled, where)
    kept, left_out = leave_out(sources)
    return kept, [*counts, *left_out, *(count_pooled(kept) if layout == FOLDERS else ())]


def _sources_of_set(
    told: Iterable[tuple[str, dict[str, Any] | LeftOut]],
    images: Sequence[str],
    patient_rule: PatientRule,
    *,
    keep_splits: bool,
) -> tuple[list[Source], list[InputCount]]:
    """Makes the sources of a public set, and counts the images that are left out or pooled.

    Args:
        told: what the set tells of its images, see `describe_set`; of several rows on an image the first counts.
        images: all images of the input.
        patient_rule: the way to tell the patient; where it tells none, the tables of the set do.
        keep_splits: see `describe`.
    """
    sources: dict[str, Source] = {}
    left_out: dict[str, LeftOut] = {}
    pooled: Counter[str] = Counter()
    repeated: set[str] = set()
    for filename, fields in told:
        if filename in sources or filename in left_out:
            repeated.add(filename)
        elif isinstance(fields, LeftOut):
            left_out[filename] = fields
        else:
            patient, told_by = patient_rule.tell(filename)
            split, group = fields["split"], fields.get("group", "")
            if patient is None and group:
                patient, told_by = group, BY_TABLE
            if split and split != "test" and not keep_splits:
                pooled[split] += 1
                split = None
            known = {"domain": find_domain(filename), **fields, "split": split, "group": patient or filename}
            sources[filename] = Source(filename, told_by=told_by, **known)
    if repeated:
        logging.warning("the tables have several rows on %d images, of which the first counts", len(repeated))
    counts = Counter(left_out.values())
    if unknown := len(images) - len(sources) - len(left_out):
        counts[LeftOut(NO_LABEL, "not told by the set")] = unknown
    counts.update({LeftOut(POOLED, split): count for split, count in pooled.items()})
    return [sources[name] for name in sorted(sources)], [InputCount(*key, count) for key, count in counts.items()]


def list_images(root: AnyPath) -> InputFiles:
    """Lists the images in a folder, see `find_images`; raises a `UsageError` if there are none."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise UsageError(f"--input {root}: expected a folder with images, found {found}; check the path")
    found_files = find_images(root)
    if not found_files.images:
        said = "; ".join(say_left_out(add_up(found_files.left_out)))
        raise UsageError(f"--input {root}: found no image in it or its folders{said and ': '}{said}")
    return found_files


def _check_classes(sources: Sequence[Source], rule: LabelRule, said: str, layout: str, *, has_csv: bool) -> None:
    """Raises a `UsageError` where no image is of a class, or no image has findings; the message begins with `said`."""
    told = {source.label for source in sources}
    names = rule.labels.class_names
    if rule.labels.is_multilabel:
        if NO_CLASS not in told:
            raise UsageError(f"{said}; none of them says a finding; check the columns and the paths in them")
        return
    missing = [name for label, name in enumerate(names) if label not in told]
    if not missing:
        return
    if layout != FOLDERS and not has_csv:
        raise UsageError(f"{said} of --layout {layout}, none of them is {missing[0]}; --classes names other classes")
    advice = "--classes A B names other classes, --classes auto takes those that are there"
    if has_csv:
        raise UsageError(
            f"{said}; by these rows and the class folders none is {missing[0]}; add rows with that label ({advice})"
        )
    if rule.label_regex is not None:
        raise UsageError(f"{said}, none of them with {missing[0]} by --label_regex {rule.label_regex}; {advice}")
    expected = " and ".join(f"{name}/" for name in names)
    raise UsageError(f"{said}, none of them in a folder {missing[0]}/; expected class folders {expected}; {advice}")
