"""Plans a dataset from metadata alone: which record goes to which place of which shard. Standard library only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from beam_prep.dataset.input_counts import SUSPECT, InputCount, InputCounts, add_up
from beam_prep.dataset.manifest import DomainCounts, Manifest, Shard, Split
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from beam_prep.dataset.sharding import pick_num_shards, shard_bounds, shard_name, size_folder
from beam_prep.dataset.trainable import find_training_problem
from beam_prep.planning.class_counts import count_cooccurrence, count_split, warn_of_rare_classes
from beam_prep.planning.domains import count_domains
from beam_prep.planning.label_audits import LabelAudits, make_audits
from beam_prep.planning.outcomes import Duplicate, NearDuplicate, Prepared, Rejected, Span, Suspect
from beam_prep.planning.patients import count_told_by, warn_of_cases, warn_of_one_patient, warn_of_unknown_patients
from beam_prep.planning.splits import Fractions, assign


@dataclass(frozen=True)
class ShardTask:
    """A shard to write: its path relative to the dataset, and the places of its records in the spool, in order."""

    path: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Plan:
    """The shards that the second pass writes, and all that the manifest needs except the digests of the shards.

    Attributes:
        tasks: the shards to write.
        shard_paths: image size in px (as text) → split → the paths of the shards, in order.
        splits: the counts and class weights of each split.
        pixels: image size in px (as text) → mean and standard deviation of the training pixels; None without any.
        num_inputs: the number of inputs.
        duplicates: the inputs with the same pixels as a record.
        near_duplicates: the pairs of records that look the same.
        rejected: the rejected inputs.
        suspect: the records that may be no X-rays.
        audits: the shortcut audit of each label.
        patients: what told the patient → the number of images.
        warnings: what the user should know before a training, a text for each.
        max_rejected_fraction: the share of rejected inputs, in 0..1, above which no dataset is made.
        num_repaired: the number of images whose file lacked its last bytes but no pixel.
        options: the options for the manifest.
        input_counts: the numbers of input files that are left out, pooled or suspect.
        domains: the numbers of images by domain, split and class name.
        labels: the task and the class names.
        cooccurrence: the numbers of images by two findings that are both present, for the multilabel task.
    """

    tasks: list[ShardTask]
    shard_paths: dict[str, dict[str, list[str]]]
    splits: dict[str, Split]
    pixels: dict[str, dict[str, float] | None]
    num_inputs: int
    duplicates: list[Duplicate]
    near_duplicates: list[NearDuplicate]
    rejected: list[Rejected]
    suspect: list[Suspect]
    audits: LabelAudits
    patients: dict[str, int]
    warnings: list[str]
    max_rejected_fraction: float
    num_repaired: int
    options: dict[str, Any] = field(default_factory=dict)
    input_counts: InputCounts = field(default_factory=dict)
    domains: DomainCounts = field(default_factory=dict)
    labels: LabelSpace = DEFAULT_LABELS
    cooccurrence: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """The reason why no dataset may be made; None if it may."""
        names = self.labels.class_names
        missing = [name for name in names if not any(split.class_counts[name] for split in self.splits.values())]
        if self.labels.is_multilabel and len(missing) < len(names):
            missing = []  # the other findings can be learned
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.rejected_by_reason.items()) or "none"
        rejected = f"{len(self.rejected)} of {self.num_inputs} inputs are rejected ({reasons})"
        if missing:
            return "; ".join([f"no image of class {' or '.join(missing)} is left: {rejected}", *self.warnings])
        if len(self.rejected) > self.max_rejected_fraction * self.num_inputs:
            first = ", ".join(f"{rejection.filename}: {rejection.detail}" for rejection in self.rejected[:3])
            allowed = f"more than --max_rejected_fraction {self.max_rejected_fraction:g} allows"
            return "; ".join([f"{rejected}, {allowed}; such as {first}", *self.warnings])
        return None

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        """The number of rejected inputs by reason, in alphabetical order."""
        return dict(sorted(Counter(rejected.reason for rejected in self.rejected).items()))

    @property
    def counts(self) -> dict[str, int]:
        """The counts of outcomes: `inputs` = `records` + `duplicates` + `rejected`; rejections by reason, repairs."""
        return {
            "inputs": self.num_inputs,
            "records": sum(split.num_records for split in self.splits.values()),
            "duplicates": len(self.duplicates),
            **({"repaired": self.num_repaired} if self.num_repaired else {}),
            "rejected": len(self.rejected),
            **{f"rejected_{reason}": count for reason, count in self.rejected_by_reason.items()},
        }

    def manifest(self, shards: Sequence[Shard], software: dict[str, str]) -> Manifest:
        """Returns the manifest of the dataset.

        Args:
            shards: all shards, written.
            software: the versions of the software that made them.
        """
        by_path = {shard.path: shard for shard in shards}
        return Manifest(
            num_inputs=self.counts["inputs"],
            num_records=self.counts["records"],
            num_duplicates=self.counts["duplicates"],
            num_rejected=self.counts["rejected"],
            num_near_duplicates=len(self.near_duplicates),
            num_repaired=self.num_repaired,
            rejected_by_reason=self.rejected_by_reason,
            options=self.options,
            splits=self.splits,
            pixels=self.pixels,
            sizes={
                size: {split: [by_path[path] for path in paths] for split, paths in by_split.items()}
                for size, by_split in self.shard_paths.items()
            },
            software=software,
            patients=self.patients,
            warnings=self.warnings,
            input_counts=self.input_counts,
            domains=self.domains,
            class_names=self.labels.class_names,
            task=self.labels.task,
            cooccurrence=self.cooccurrence,
        )


def find_split_problem(test_fraction: float, keep_splits: bool, splits: Iterable[str | None]) -> str | None:
    """Returns why the splits that images name and the options do not go together; None without a problem.

    Args:
        test_fraction: the share of the patients to draw as the test split.
        keep_splits: True to take the splits from folders.
        splits: the split that a folder or a metadata file names, for each image.
    """
    named = set(splits)
    if test_fraction and "test" in named:
        return (
            f"--test_fraction {test_fraction:g}: the input has a test set already (a test folder, or a metadata file "
            "that says so); leave the flag out"
        )
    if keep_splits and named <= {None}:
        return "--keep_splits: expected folders named train, val or test, found none; leave the flag out"
    return None


def make_plan(
    outcomes: Sequence[Prepared | Rejected],
    *,
    image_sizes: Sequence[int],
    fractions: Fractions,
    num_shards: int,
    max_rejected_fraction: float,
    options: dict[str, Any],
    input_counts: Sequence[InputCount] = (),
    labels: LabelSpace = DEFAULT_LABELS,
) -> Plan:
    """Plans the dataset, as a pure function of the outcomes and options.

    Args:
        outcomes: the outcome of each input, in any order.
        image_sizes: the image sizes, px, ascending, in the order of the spans of each image.
        fractions: the shares of the splits.
        num_shards: the number of shards of a split; 0 picks it by size.
        max_rejected_fraction: the share of rejected inputs, in 0..1, above which the plan has a problem.
        options: the options for the manifest.
        input_counts: the counts of input files that the listing gives.
        labels: the task and the class names.
    """
    prepared = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
    unreadable = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assignment = assign(prepared, fractions)

    tasks: list[ShardTask] = []
    shard_paths: dict[str, dict[str, list[str]]] = {str(size): {} for size in image_sizes}
    splits: dict[str, Split] = {}
    for split, images in assignment.splits.items():
        splits[split] = count_split(images, labels)
        largest = sum(image.spans[-1].length for image in images) // max(len(images), 1)
        bounds = shard_bounds(len(images), pick_num_shards(len(images), largest, num_shards) if images else 0)
        for which, size in enumerate(image_sizes):
            paths = [f"{size_folder(size)}/{shard_name(split, index, len(bounds))}" for index in range(len(bounds))]
            shard_paths[str(size)][split] = paths
            tasks += [
                ShardTask(path, tuple(image.spans[which] for image in images[start:end]))
                for path, (start, end) in zip(paths, bounds, strict=True)
            ]
    kept = [image for images in assignment.splits.values() for image in images]
    suspect = sorted(Suspect(image.filename, "two_values") for image in kept if image.stats.has_two_values)
    suspect_counts = (InputCount(SUSPECT, row.reason, 1) for row in suspect)
    return Plan(
        tasks=tasks,
        shard_paths=shard_paths,
        splits=splits,
        pixels={
            str(size): _pixel_statistics([image.sums[which] for image in assignment.splits["train"]], size)
            for which, size in enumerate(image_sizes)
        },
        num_inputs=len(outcomes),
        duplicates=assignment.duplicates,
        near_duplicates=assignment.near_duplicates,
        rejected=sorted(unreadable + assignment.rejected),
        suspect=suspect,
        audits=make_audits(kept, labels),
        patients=count_told_by(prepared),
        warnings=[
            *warn_of_unknown_patients(prepared),
            *warn_of_one_patient(prepared, labels),
            *warn_of_cases(prepared),
            *warn_of_rare_classes(splits, labels),
            *filter(None, [find_training_problem(splits)]),
        ],
        domains=count_domains(assignment.splits, labels),
        labels=labels,
        cooccurrence=count_cooccurrence(kept, labels),
        max_rejected_fraction=max_rejected_fraction,
        num_repaired=sum(image.repaired for image in prepared),
        options=options,
        input_counts=add_up([*input_counts, *suspect_counts]),
    )


def _pixel_statistics(sums: Sequence[tuple[int, int]], image_px: int) -> dict[str, float] | None:
    """Returns mean and standard deviation over all pixels of square images.

    They are computed from whole numbers, so that they are the same in any order of the images.
    """
    count = len(sums) * image_px**2
    if not count:
        return None
    total, squares = sum(one for one, _ in sums), sum(square for _, square in sums)
    variance = Fraction(squares, count) - Fraction(total, count) ** 2
    return {"mean": total / count, "std": math.sqrt(variance)}
