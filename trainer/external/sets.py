"""Opens datasets of other sources and checks that they fit a model and hold nothing that it has learnt from.

Loads TensorFlow only to read records.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import SPLITS
from trainer.config.quiet_start import quiet_start
from trainer.config.train import TrainConfig, name_of_set
from trainer.data.checks import check_same_preprocessing, has_auroc, has_labels
from trainer.data.folds import POOLED, RecordIndex, pool
from trainer.data.splits import SplitSource, add_counts, join, open_split, read_manifest
from trainer.data.staging import copy_shards_to
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard

Role = Literal["external", "development"]
"""The role of a set of another source: `development` if anything was selected by it, else `external`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExternalSet:
    """A dataset of another source, all splits of which are evaluated as one set.

    Attributes:
        name: the name of the set, see `TrainConfig.external_sets`.
        data: the dataset folder.
        manifest: the manifest of the dataset.
        source: all records of the dataset.
        role: the role of the set.
    """

    name: str
    data: str
    manifest: Manifest
    source: SplitSource
    role: Role


def open_external_sets(config: TrainConfig, manifest: Manifest) -> list[ExternalSet]:
    """Opens the sets of `--external`, in their order, and checks that they can be measured as the training set can.

    Args:
        config: flags of the training.
        manifest: manifest of the dataset to train on.

    Raises:
        UsageError: a set was prepared otherwise, is empty, is the training set itself, or is to select the model and
            lacks a class.
    """
    return [
        _open(name, data, config, manifest, selects=config.select_by == "external_auroc" and place == 0)
        for place, (name, data) in enumerate(config.external_sets.items())
    ]


def _open(name: str, data: str, config: TrainConfig, trained: Manifest, *, selects: bool) -> ExternalSet:
    try:
        manifest = read_manifest(data)
        if manifest.fingerprint == trained.fingerprint:
            raise UsageError("is the dataset that is trained on; expected one of another source")
        check_same_preprocessing(
            trained.labels,
            trained.options["equalization"],
            manifest,
            data,
            image_size=config.image_size,
            fit=trained.options.get("fit"),
        )
        if not any(map(has_labels, manifest.splits.values())):
            raise UsageError(f"{data} holds no image{' with a known label' if manifest.num_records else ''}")
        splits = list(manifest.splits.values())
        if selects and not has_auroc(splits):
            counts = add_counts(splits).class_counts
            raise UsageError(f"--select_by external_auroc needs images of both classes, {data} holds {counts}")
        source = open_joined(data, manifest, config.image_size, config.stage_dir, manifest.splits)
    except UsageError as error:
        raise UsageError(f"--external {name}: {error}") from None
    return ExternalSet(name, data, manifest, source, "development" if selects else "external")


def open_joined(
    data: str, manifest: Manifest, image_size: int, stage_dir: str | None, splits: Iterable[str]
) -> SplitSource:
    """Opens splits of a dataset as one source, see `open_split` and `copy_shards_to`."""
    opened = {split: open_split(data, manifest, image_size, split) for split in splits}
    return join(list(copy_shards_to(stage_dir, opened, manifest).values()))


def open_learnt(run: RunFolder, card: ModelCard) -> dict[str, SplitSource] | None:
    """Opens the splits that a run was trained and validated on; None if they are not where they were."""
    return _open_known(str(run.read_json("config").get("data", "")), card.dataset_fingerprint, POOLED)


def _open_known(data: str, fingerprint: str, splits: Sequence[str] = SPLITS) -> dict[str, SplitSource] | None:
    """Opens splits of the dataset with a fingerprint; None if it is not where it was."""
    try:
        manifest = read_manifest(data)
        if manifest.fingerprint != fingerprint:
            return None
        return {split: open_split(data, manifest, manifest.image_sizes[0], split) for split in splits}
    except UsageError:
        return None


def check_other_source(data: str, source: SplitSource, run: RunFolder, card: ModelCard) -> bool:
    """Checks that another dataset holds none of the images that a run has learnt from, see `check_apart`.

    Returns:
        True if they were compared; False, with a warning, if the dataset of the run is not where it was.
    """
    learnt = open_learnt(run, card)
    if learnt is not None:
        check_apart([(f"--data {data}", source)], learnt)
        return True
    logger.warning(
        "%s: the dataset that the run was trained on is not where it was, so that images and patients which it shares "
        "with %s can't be found",
        run,
        data,
    )
    return False


def check_apart(sources: Iterable[tuple[str, SplitSource]], learnt: Mapping[str, SplitSource]) -> None:
    """Checks that sets share no image and no patient with the images that a model is trained and validated on.

    Images are the same if their decoded pixels are, whatever their files are called. Patients are compared by the
    salted hashes of the records, so that sets of different salts can share patients unseen.

    Args:
        sources: the folders of the sets, and their records.
        learnt: the splits that the model was trained and validated on.

    Raises:
        UsageError: a set shares images or patients.
        RunError: the records can't be read.
    """
    with quiet_start():
        from trainer.data.tf_dataset import read_index
    known = read_index(pool(learnt))
    for data, source in sources:
        index = read_index(source)
        images, patients = count_shared(index, known)
        if images or patients:
            names = "" if images else ", or with --salt_file if they only have the names of other patients"
            raise UsageError(
                f"{data} is no set of another source: {images:,} of its {len(index.labels):,} images are in the "
                f"training or validation images too (by their pixels), and {patients:,} of its "
                f"{len(set(index.groups)):,} patients; prepare it without them{names}"
            )


def check_external(external: Sequence[ExternalSet], learnt: Mapping[str, SplitSource]) -> None:
    """Checks that no set of `--external` shares images or patients with the training, see `check_apart`.

    Nor may the others share any with the set by which the epoch is to be chosen.

    Args:
        external: the sets.
        learnt: the splits that the model is trained and validated on.

    Raises:
        UsageError: a set does.
        RunError: the records can't be read.
    """
    check_apart([(f"--external {each.data}", each.source) for each in external], learnt)
    selecting = [each for each in external if each.role == "development"]
    others = [each for each in external if each.role == "external"]
    for each in others if selecting else ():
        if shared := _say_shared(each.source, selecting[0].source):
            raise UsageError(
                f"--external {each.data}: {shared} are in {selecting[0].data} too, by which --select_by "
                "external_auroc chooses the epoch; prepare it without them, or leave it out"
            )


def has_selected(
    data: str, manifest: Manifest, source: SplitSource, runs: Iterable[tuple[RunFolder, ModelCard]]
) -> bool:
    """Returns True if another dataset selected the weights of some runs, or shares images or patients with such a set.

    Says how many, and which set can't be compared as it is not where it was.
    """
    members = list(runs)
    selected = any(manifest.fingerprint in (card.development or {}).values() for _, card in members)
    for (path, fingerprint), run in _selecting(members).items():
        if fingerprint == manifest.fingerprint:
            continue
        known = _open_known(path, fingerprint)
        if known is None:
            logger.warning(
                "%s: the set %s, by which its epoch was chosen, is not where it was, so that images and patients which "
                "it shares with %s can't be found",
                *(run, name_of_set(path), data),
            )
        elif shared := _say_shared(source, join(list(known.values()))):
            logger.warning("%s: %s are in %s too, by which the epoch of %s was chosen", data, shared, path, run)
            selected = True
    return selected


def _selecting(runs: Iterable[tuple[RunFolder, ModelCard]]) -> dict[tuple[str, str], RunFolder]:
    """Returns path and fingerprint of each set that chose the epoch of some runs, with the first of these runs."""
    found: dict[tuple[str, str], RunFolder] = {}
    for run, card in runs:
        for path in map(str, run.read_json("config").get("external") or ()):
            if fingerprint := (card.development or {}).get(name_of_set(path)):
                found.setdefault((path, fingerprint), run)
    return found


def _say_shared(source: SplitSource, other: SplitSource) -> str:
    """Says in words how many images and patients of a source are in another one too; an empty text if none are."""
    with quiet_start():
        from trainer.data.tf_dataset import read_index
    index = read_index(source)
    images, patients = count_shared(index, read_index(other))
    if not images and not patients:
        return ""
    return f"{images:,} of its {len(index.labels):,} images and {patients:,} of its {len(set(index.groups)):,} patients"


def was_fitted_to(source: SplitSource, run: RunFolder, recalibration: str | None) -> bool:
    """Returns True if a recalibration of a run was fitted to images or patients of a source, and says to how many."""
    if recalibration is None:
        return False
    with quiet_start():
        from trainer.data.tf_dataset import read_index
    fitted, index = run.recalibrations()[recalibration], read_index(source)
    pixels, patients = set(fitted["source_ids"]), set(fitted.get("groups", ()))
    images = sum(digest[:16] in pixels for digest in index.source_ids)
    shared = len({group for group in index.groups if group[:16] in patients})
    if was := bool(images or shared):
        logger.warning(
            "%d of %d images and %d of %d patients are in the sample that the recalibration %s was fitted to",
            *(images, len(index.labels), shared, len(set(index.groups)), recalibration),
        )
    return was


def count_shared(index: RecordIndex, known: RecordIndex) -> tuple[int, int]:
    """Returns how many records of an index have pixels that another one has too, and how many patients are in both."""
    pixels, patients = ({*values} - {""} for values in (known.source_ids, known.groups))
    return sum(digest in pixels for digest in index.source_ids), len(patients.intersection(index.groups))
