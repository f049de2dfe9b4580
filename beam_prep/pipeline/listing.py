"""Lists the inputs, and seals the listing, which names files and patients, so that a killed job leaves nothing to read.

The workers read the listing from a file, since it may be too large for the graph of the pipeline. The file is encrypted
with a key that is made for the job and is only in that graph: a local job keeps it in memory, Dataflow in its staging
location. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from beam_prep.config import AUTO, PrepConfig, check_class_names
from beam_prep.console.errors import UsageError
from beam_prep.dataset.input_counts import InputCount
from beam_prep.dataset.schema import BINARY, CLASS_NAMES, MULTICLASS, MULTILABEL, LabelSpace
from beam_prep.sources.class_names import find_classes, order_classes, read_label_map
from beam_prep.sources.discover import Source, find_sources, list_images
from beam_prep.sources.labels import LabelRule, finding_names
from beam_prep.sources.layouts.registry import FOLDERS
from beam_prep.sources.metadata_columns import MetadataColumns
from beam_prep.sources.metadata_csv import read_labels
from beam_prep.sources.named_sets import find_labels
from beam_prep.sources.patients import PatientRule
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, to_path


def resolve_labels(config: PrepConfig, raw: AnyPath) -> LabelRule:
    """Returns the way to tell labels: reads the file of `--label_map`, and finds the classes for `--classes auto`.

    Args:
        config: the options of a preparation.
        raw: the input folder, whose images are listed for `--classes auto` only.

    Raises:
        UsageError: a file can't be read, the input holds less than two classes, or `--label_map` names another class.
    """
    label_map = read_label_map(config.label_map) if config.label_map else {}
    if config.layout != FOLDERS:
        rule = _labels_of_set(config, label_map)
        _check_label_map(config, label_map, rule.labels.class_names)
        return rule
    is_multilabel = config.task == MULTILABEL or bool(config.label_columns)
    names = config.classes or config.label_columns or CLASS_NAMES
    is_auto = names == (AUTO,)
    if is_auto:
        names = _found_classes(config, raw, label_map, is_multilabel)
        task = BINARY if len(names) == 2 else MULTICLASS
        if config.task in (BINARY, MULTICLASS) and config.task != task:
            raise UsageError(f"--task {config.task}: --classes auto finds {len(names)} classes: {', '.join(names)}")
        known = {name.casefold() for name in names}  # other classes of the map are those of no image
        label_map = {value: name for value, name in label_map.items() if name is None or name.casefold() in known}
    _check_label_map(config, label_map, names)
    task = MULTILABEL if is_multilabel else BINARY if len(names) == 2 else MULTICLASS
    return LabelRule(
        labels=LabelSpace(tuple(names), task),
        label_map=label_map,
        label_regex=config.label_regex,
        uncertain=config.uncertain,
        is_chosen=bool(config.classes) and not is_auto,
    )


def _check_label_map(config: PrepConfig, label_map: Mapping[str, str | None], names: Sequence[str]) -> None:
    """Raises a `UsageError` if a label stands for a class that the dataset does not have."""
    known = {name.casefold() for name in names}
    for value, name in label_map.items():
        if name is not None and name.casefold() not in known:
            raise UsageError(
                f"--label_map {config.label_map}: {value} stands for {name}, which is not among the classes "
                f"{', '.join(names)}"
            )


def _labels_of_set(config: PrepConfig, label_map: dict[str, str | None]) -> LabelRule:
    """Returns the way to tell labels from the tables of a public set; raises a `UsageError` if flags do not fit it."""
    labels = find_labels(config.layout, config.classes, config.task)
    for name in ("label_regex", "label_columns", *(() if labels.is_multilabel else ("uncertain",))):
        if getattr(config, name) != getattr(PrepConfig, name):
            why = "its labels are those of its tables" if name != "uncertain" else f"its task is {labels.task}"
            raise UsageError(f"--{name} does not go with --layout {config.layout}: {why}; leave it out")
    return LabelRule(labels=labels, label_map=label_map, uncertain=config.uncertain, is_chosen=True)


def _found_classes(
    config: PrepConfig, raw: AnyPath, label_map: dict[str, str | None], is_multilabel: bool
) -> tuple[str, ...]:
    """Returns the classes that a table or else the paths tell, and says them in one line."""
    columns = _columns(config)
    cells = list(read_labels(config.metadata_csv, columns)) if config.metadata_csv else []
    if cells or is_multilabel:
        where = f"the column {columns.label} of --metadata_csv"
        names = order_classes(finding_names(cells) if is_multilabel else cells, label_map)
    else:
        where = "the paths by --label_regex" if config.label_regex else "the folders"
        names = find_classes(list_images(raw).images, label_map, config.label_regex)
    if len(names) < (1 if is_multilabel else 2):
        found = f"{names[0]} only" if names else "none"
        raise UsageError(f"--classes auto: expected two classes or more in {where} of --input {raw}, found {found}")
    check_class_names(names)
    logging.warning("--classes auto takes %s from %s, in this order", ", ".join(names), where)
    return names


def make_patient_rule(config: PrepConfig, label_rule: LabelRule) -> PatientRule:
    """Returns the way to tell patients from paths as the options of a preparation say."""
    layout = None if config.layout == FOLDERS else config.layout
    return PatientRule(config.group_regex, config.group_from, frozenset(label_rule.class_of), layout)


def list_inputs(config: PrepConfig, raw: AnyPath, label_rule: LabelRule) -> tuple[list[Source], list[InputCount]]:
    """Lists the inputs in a folder as the options of a preparation say, see `find_sources`."""
    return find_sources(
        raw,
        patient_rule=make_patient_rule(config, label_rule),
        metadata_csv=config.metadata_csv,
        columns=_columns(config),
        keep_splits=config.keep_splits,
        label_rule=label_rule,
        layout=config.layout,
    )


def _columns(config: PrepConfig) -> MetadataColumns:
    """Returns the columns of the metadata file that the options name."""
    names = () if AUTO in config.classes else config.classes
    is_by_name = config.task == MULTILABEL and not config.label_column and not config.label_columns
    return MetadataColumns(
        domain=config.domain_column,
        label=config.label_column or MetadataColumns.label,
        findings=names if is_by_name else config.label_columns,
        traits=config.subgroups,
        anonymize=config.anonymize,
    )


@dataclass(frozen=True)
class Listing:
    """A file with one sealed line for each input.

    Attributes:
        path: the file, on this machine or in a bucket.
        key: the key of the job, 32 bytes, which no text form of this object shows.
    """

    path: str
    key: bytes = field(repr=False)

    @classmethod
    def write(cls, path: str, sources: Iterable[Source]) -> Listing:
        """Writes a listing with a new key, whole or not at all."""
        listing = cls(path, secrets.token_bytes(32))
        with open_atomic(to_path(path)) as file:
            for number, source in enumerate(sources):
                sealed = listing._cover(number, source.to_json().encode())
                file.write(base64.b64encode(sealed) + b"\n")
        return listing

    def read(self) -> Iterator[Source]:
        """Reads the inputs, in their order."""
        with to_path(self.path).open("rb") as lines:
            for number, line in enumerate(lines):
                yield Source.from_json(self._cover(number, base64.b64decode(line)).decode())

    def _cover(self, number: int, text: bytes) -> bytes:
        """Encrypts or decrypts a line: exclusive or with the output of SHAKE256 on key and number, never used twice.

        Source: FIPS 202, 6.2: with a secret prefix an extendable-output function is a pseudorandom function.
        """
        stream = hashlib.shake_256(self.key + number.to_bytes(8, "big")).digest(len(text))
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")
