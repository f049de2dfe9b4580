"""Says by the tables of a public set what `--layout` knows of its images. Standard library only."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from beam_prep.console.errors import UsageError
from beam_prep.dataset.input_counts import NO_LABEL, OTHER_CLASSES, OTHER_VIEWS
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL, NO_CLASS, UNKNOWN, LabelSpace
from beam_prep.dataset.traits import READERS
from beam_prep.sources.labels import LEFT_OUT, LabelRule
from beam_prep.sources.layouts.named_set import ABSENT, MISSING, PRESENT, UNCERTAIN, NamedSet, OtherView, SetImage
from beam_prep.sources.layouts.registry import SETS
from beam_prep.sources.layouts.set_folder import SetFolder
from beam_prep.sources.split_folders import folder_split, named_split
from beam_prep.storage.paths import AnyPath


class LeftOut(NamedTuple):
    """The reason why an image of a set is left out, as `input_counts` counts it: a topic and a kind."""

    topic: str
    kind: str


def find_labels(layout: str, classes: Sequence[str] = (), task: str = "auto") -> LabelSpace:
    """Returns the task and the classes of a public set.

    Args:
        layout: the name of the set, a key of `SETS`.
        classes: the classes that the user names; empty for those of the set.
        task: the task that the user names. With `auto`, findings stay findings, and other labels are binary or
            multiclass by their number.

    Raises:
        UsageError: the task does not fit the number of classes.
    """
    known = SETS[layout]
    if "auto" in classes:
        raise UsageError(
            f"--classes auto does not go with --layout {layout}: its classes are {', '.join(known.classes)}"
        )
    names = tuple(classes) or known.classes
    if task == "auto":
        task = MULTILABEL if known.task == MULTILABEL else BINARY if len(names) == 2 else MULTICLASS
    fits = {BINARY: len(names) == 2, MULTICLASS: len(names) > 2}.get(task, True)
    if not fits:
        expected = "two" if task == BINARY else "three or more"
        raise UsageError(f"--task {task} needs {expected} classes, --layout {layout} with {len(names)}: name --classes")
    return LabelSpace(names, task)


def describe_set(
    layout: str, root: AnyPath, images: Sequence[str], rule: LabelRule, traits: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, Any] | LeftOut]]:
    """Yields what a public set tells of its images; an image of which it tells nothing is not among them.

    Args:
        layout: the name of the set, a key of `SETS`.
        root: the input folder.
        images: the images in it, by paths relative to it.
        rule: the classes, and what other labels of the set stand for.
        traits: the traits of patients that are wanted, of `age`, `sex` and `view`.

    Yields:
        The path of an image, with the fields of `Source` that the set tells (`group` only where its tables tell the
        patient), or with the reason why it is left out.

    Raises:
        UsageError: a table of the set is missing or damaged, or the set has no label for a class.
    """
    known, place = SETS[layout], f"--layout {layout}"
    names, dropped = _names_by_class(known, rule, place)
    unread: Counter[str] = Counter()
    for path, image in known.read(SetFolder(root, images, place, wants_traits=bool(traits))):
        if isinstance(image, OtherView):
            yield path, LeftOut(OTHER_VIEWS, image.view)
            continue
        if any(image.cell(name) == PRESENT for name in dropped):
            yield path, LeftOut(OTHER_CLASSES, "")
            continue
        told = _label(image, names, rule, place)
        if isinstance(told, LeftOut):
            yield path, told
            continue
        fields = {**told, "split": named_split(image.split) or folder_split(path)}
        fields |= {name: text for name in ("group", "domain") if (text := getattr(image, name))}
        for trait in traits:
            if text := getattr(image, trait):
                fields[trait] = READERS[trait](text)
                unread[trait] += not fields[trait]
        yield path, fields
    for trait, count in unread.items():
        if count:
            logging.warning("%s: %d values of %s count as not known", place, count, trait)


def _names_by_class(known: NamedSet, rule: LabelRule, place: str) -> tuple[list[list[str]], list[str]]:
    """Returns the labels of the set that stand for each class, and those whose images `--label_map` leaves out.

    Raises:
        UsageError: a class has no label in the set, or the map names a label that the set does not have.
    """
    labels = (*known.classes, *known.more_labels)
    if known.has_more_labels:
        labels = tuple(dict.fromkeys((*labels, *rule.class_of)))
    if wrong := {name.casefold(): name for name in rule.label_map}.keys() - {name.casefold() for name in labels}:
        raise UsageError(f"{place}: --label_map names {min(wrong)}; the labels of the set are {', '.join(labels)}")
    names = [
        [name for name in labels if rule.class_of.get(name.casefold()) == index]
        for index in range(len(rule.labels.class_names))
    ]
    for index, of_class in enumerate(names):
        if not of_class:
            raise UsageError(
                f"{place}: the set has no label {rule.labels.class_names[index]}; choose --classes from "
                f"{', '.join((*known.classes, *known.more_labels))}, or say by --label_map FILE what these stand for"
            )
    return names, [name for name in labels if rule.class_of.get(name.casefold()) == LEFT_OUT]


def _label(image: SetImage, names: Sequence[Sequence[str]], rule: LabelRule, place: str) -> dict[str, Any] | LeftOut:
    """Returns the fields `label` and `findings` of an image, or why it has none.

    Args:
        image: the image.
        names: the labels of the set that stand for each class.
        rule: the classes.
        place: the beginning of messages.
    """
    cells = [_joined([image.cell(name) for name in of_class]) for of_class in names]
    if rule.labels.is_multilabel:
        vector = rule.of_cells(cells, place)
        is_known = any(value != UNKNOWN for value in vector)
        return {"label": NO_CLASS, "findings": vector} if is_known else LeftOut(NO_LABEL, "no finding is known")
    present = [index for index, cell in enumerate(cells) if cell == PRESENT]
    if len(present) != 1:
        return LeftOut(NO_LABEL, "several of the classes") if present else LeftOut(OTHER_CLASSES, "")
    return {"label": present[0]}


def _joined(cells: Sequence[str]) -> str:
    """Returns the cell of a class for which several labels of a set stand: true if one of them is."""
    for cell in (PRESENT, UNCERTAIN, MISSING):
        if cell in cells:
            return cell
    return next((cell for cell in cells if cell != ABSENT), ABSENT)
