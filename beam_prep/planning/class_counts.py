"""Counts the images of each class or finding, and warns of those that are rare. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from beam_prep.dataset.manifest import Split
from beam_prep.dataset.schema import BINARY, PRESENT, UNKNOWN, LabelSpace
from beam_prep.planning.outcomes import Prepared

FEWEST_IMAGES = 20
"""The number of training images of a class below which a warning says that it is rare."""


def count_split(images: Sequence[Prepared], labels: LabelSpace) -> Split:
    """Counts the images and patients of one split, and its images by class."""
    vectors = [labels.vector(image.label, image.findings) for image in images]
    present = {
        name: sum(vector[index] == PRESENT for vector in vectors) for index, name in enumerate(labels.class_names)
    }
    num_groups = len({image.group for image in images})
    if not labels.is_multilabel:
        return Split.from_counts(present, num_groups)
    known = {name: sum(vector[index] != UNKNOWN for vector in vectors) for index, name in enumerate(labels.class_names)}
    return Split.from_findings(present, known, num_records=len(images), num_groups=num_groups)


def count_cooccurrence(images: Iterable[Prepared], labels: LabelSpace) -> dict[str, dict[str, int]]:
    """Counts the images in which two findings are both present: finding → finding → number of images.

    The diagonal counts the images with the finding. There are no counts for other tasks than multilabel.
    """
    if not labels.is_multilabel:
        return {}
    pairs: Counter[tuple[str, str]] = Counter()
    for image in images:
        names = labels.names_of(image.findings)
        pairs.update((one, other) for one in names for other in names)
    return {one: {other: pairs[one, other] for other in labels.class_names} for one in labels.class_names}


def warn_of_rare_classes(splits: Mapping[str, Split], labels: LabelSpace) -> Iterator[str]:
    """Yields a warning for each split that lacks a class, and one for the classes with few training images.

    The binary task gets none: `find_training_problem` says what it lacks.
    """
    if labels.task == BINARY:
        return
    kind = "finding" if labels.is_multilabel else "class"
    for split, counts in splits.items():
        consequence = "it can't be learned" if split == "train" else "nothing is measured of it there"
        if counts.num_records and (missing := [name for name, count in counts.class_counts.items() if not count]):
            yield f"the {split} split has no image of the {kind} {' or '.join(missing)}: {consequence}"
    trained = splits["train"].class_counts
    if rare := [f"{name} ({count})" for name, count in trained.items() if 0 < count < FEWEST_IMAGES]:
        yield (
            f"fewer than {FEWEST_IMAGES} training images of {', '.join(rare)}: too few to learn from; prepare more "
            f"images of these, or leave the {kind} out of --classes"
        )
