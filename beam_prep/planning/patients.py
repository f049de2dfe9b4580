"""Says what told the patients of the images, and warns where it spoils the splits. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from beam_prep.dataset.patient_groups import BY_CSV, BY_FOLDER, BY_HEADER, BY_REGEX, BY_TABLE, UNKNOWN
from beam_prep.dataset.schema import DEFAULT_LABELS, PRESENT, LabelSpace
from beam_prep.planning.outcomes import Prepared
from beam_prep.sources.layouts.table import LAYOUTS

FLAGS = "--group_from folder, --group_regex or --metadata_csv"
_PHRASES = {
    BY_CSV: "from --metadata_csv",
    BY_REGEX: "from --group_regex",
    BY_FOLDER: "from --group_from folder",
    BY_TABLE: "from the tables of the set (--layout)",
    BY_HEADER: "from DICOM headers (PatientID)",
    UNKNOWN: "unknown",
    **{
        name: f"from {layout.names} ({layout.title})" if layout.tells_patient else f"unknown ({layout.title})"
        for name, layout in LAYOUTS.items()
    },
}


def is_known(told_by: str) -> bool:
    """Returns True if something told the patient of an image, so that the image is no patient of its own."""
    return told_by != UNKNOWN and (told_by not in LAYOUTS or LAYOUTS[told_by].tells_patient)


def count_told_by(images: Sequence[Prepared]) -> dict[str, int]:
    """Counts what told the patients of the images, see `patient_groups`; the most frequent one comes first."""
    counts = Counter(image.told_by for image in images)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def describe_told_by(counts: Mapping[str, int]) -> str:
    """Returns the counts of `count_told_by` in words."""
    parts = [f"{_PHRASES.get(told_by, told_by)} for {count:,}" for told_by, count in counts.items()]
    first, *others = parts or ["unknown for 0"]
    return ", ".join([f"{first} of {sum(counts.values()):,} images", *others])


def warn_of_unknown_patients(images: Sequence[Prepared]) -> Iterator[str]:
    """Yields a warning if the patients of images are not known: their number, three names and what helps."""
    unknown = [image for image in images if not is_known(image.told_by)]
    if not unknown:
        return
    names = ", ".join(sorted(image.filename for image in unknown)[:3])
    sets = sorted({image.told_by for image in unknown} - {UNKNOWN})
    yield " ".join(
        [
            f"no patient is known for {len(unknown):,} of {len(images):,} images, such as {names}. Each counts as a "
            "patient of its own, so that images of one person may be both in train and in val or test.",
            *(f"{LAYOUTS[name].title}: {LAYOUTS[name].advice}" for name in sets),
            f"Tell the patients by {FLAGS}, or leave these images out by --unknown_patient reject.",
        ]
    )


def warn_of_one_patient(images: Sequence[Prepared], labels: LabelSpace = DEFAULT_LABELS) -> Iterator[str]:
    """Yields a warning where more than half of the images, or of those of a class, have the same patient.

    Images outside the test set are also looked at by themselves: they are the ones to divide.
    """
    for of_all in (images, [image for image in images if image.split != "test"]):
        warnings = [_warn_of_one_patient(of_all, "")]
        if not any(warnings):
            warnings = [
                _warn_of_one_patient(
                    [image for image in of_all if labels.vector(image.label, image.findings)[index] == PRESENT],
                    f" of class {name}",
                )
                for index, name in enumerate(labels.class_names)
            ]
        if any(warnings):
            yield from filter(None, warnings)
            return


def warn_of_cases(images: Sequence[Prepared]) -> Iterator[str]:
    """Yields a warning where patients differ only in capital and small letters: their number and two names."""
    first: dict[str, Prepared] = {}
    others: dict[str, Prepared] = {}  # the first image of each patient whose spelling is another
    for image in sorted(images, key=lambda image: image.filename):
        patient = image.folded_group or image.group
        if first.setdefault(patient, image).group != image.group:
            others.setdefault(patient, image)
    if others:
        patient, other = next(iter(others.items()))
        number = "1 patient is" if len(others) == 1 else f"{len(others):,} patients are"
        yield (
            f"{number} written in capital and in small letters, such as the one of {first[patient].filename} "
            f"and {other.filename}. All images of such a patient are in one split, but folds of a training are made by "
            "the spelling. Write each patient in one way."
        )


def _warn_of_one_patient(images: Sequence[Prepared], of_class: str) -> str | None:
    if len(images) < 2:
        return None
    (group, count), *_ = Counter(image.group for image in images).most_common(1)
    if 2 * count <= len(images):
        return None
    told_by = next(image.told_by for image in images if image.group == group)
    number = f"all {count:,}" if count == len(images) else f"{count:,} of {len(images):,}"
    why = " De-identification often gives all patients the same PatientID." if told_by == BY_HEADER else ""
    return (
        f"{number} images{of_class} have the same patient ({_PHRASES.get(told_by, told_by)}), and all images of a "
        f"patient are in one split.{why} Tell the patients apart by {FLAGS}."
    )
