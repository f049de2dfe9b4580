"""Tells which images and shards an interrupted job has finished, so that the next job does not do them again.

Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from beam_prep.dataset.image_stats import ImageStats
from beam_prep.dataset.manifest import Shard
from beam_prep.dataset.patient_groups import Salt
from beam_prep.pipeline.spool import read_notes
from beam_prep.pipeline.work_folder import WorkFolder
from beam_prep.planning.outcomes import Prepared, Span
from beam_prep.planning.plan import ShardTask
from beam_prep.sources.discover import Source
from beam_prep.storage.atomic import write_text
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.paths import AnyPath, file_info, file_stamps, to_path

NOTE_FORMAT = 4
"""The version of the notes, as a part of the job: a job whose notes have another version is not resumed."""


def to_note(source_hash: str, info: FileInfo, prepared: Prepared) -> str:
    """Returns the line of JSON that notes in the spool that an image is prepared; it names neither file nor patient."""
    return json.dumps({"source": source_hash, "stamp": info.stamp, "prepared": prepared._asdict()})


def from_note(note: str) -> Prepared:
    """Returns the prepared image of a note."""
    fields = json.loads(note)["prepared"]
    fields["sums"] = tuple(tuple(sums) for sums in fields["sums"])
    fields["spans"] = tuple(Span(*span) for span in fields["spans"])
    fields["stats"] = ImageStats(*fields["stats"])
    fields["findings"] = tuple(fields.get("findings", ()))
    return Prepared(**fields)


def read_done(path: str) -> Iterator[Prepared]:
    """Reads the notes of the images that an interrupted job has prepared, one line each."""
    with to_path(path).open("rb") as lines:
        yield from map(from_note, map(bytes.decode, lines))


def split_done(
    work: WorkFolder, root: AnyPath, sources: Sequence[Source], salt: Salt
) -> tuple[list[Source], list[str]]:
    """Splits the inputs into those that are still to be prepared and those that an interrupted job has prepared.

    An image counts as prepared if its file, class, split and patient are the same as then, and its records are whole
    in the spool.

    Args:
        work: the work folder.
        root: the input folder.
        sources: the inputs.
        salt: the salt of the hashes by which the notes tell the inputs.

    Returns:
        The inputs to prepare, and the notes of the others.
    """
    notes: dict[str, tuple[list[int], str]] = {}  # hash of a source → stamp and note
    lengths = {path.name: path.stat().st_size for path in Path(work.spool).glob("*.spool")}
    for note in read_notes(work.spool):
        try:
            content, spans = json.loads(note), from_note(note).spans
            source, stamp = content["source"], content["stamp"]
        except (ValueError, KeyError, TypeError):  # a damaged note: its image is prepared again
            continue
        if all(span.offset + span.length <= lengths.get(span.file, 0) for span in spans):
            notes[source] = stamp, note
    if not notes:
        return list(sources), []
    hashes = [salt.hash(source.to_json()) for source in sources]
    noted = (source.filename for source, digest in zip(sources, hashes, strict=True) if digest in notes)
    stamps = file_stamps(root, noted)
    fresh, done = [], []
    for source, digest in zip(sources, hashes, strict=True):
        stamp, note = notes.get(digest, (None, ""))
        if stamp is not None and tuple(stamp) == stamps.get(source.filename):
            done.append(note)
        else:
            fresh.append(source)
    return fresh, done


def find_written_shard(work: WorkFolder, task: ShardTask) -> Shard | None:
    """Returns the shard of a task if it was written before, from the same spans; None if it is still to be written."""
    try:
        receipt = json.loads(_receipt(work, task).read_text(encoding="utf-8"))
        shard = Shard(**receipt["shard"])
        size_bytes = file_info(to_path(work.dataset) / shard.path).size_bytes
        if receipt["spans"] == _digest(task.spans) and size_bytes == shard.size_bytes:
            return shard
    except (OSError, ValueError, KeyError, TypeError):  # no receipt, or a damaged one, or no shard
        pass
    return None


def write_receipt(work: WorkFolder, task: ShardTask, shard: Shard) -> None:
    """Notes in the work folder that the shard of a task is written."""
    receipt = {"spans": _digest(task.spans), "shard": asdict(shard)}
    write_text(_receipt(work, task), json.dumps(receipt))


def _receipt(work: WorkFolder, task: ShardTask) -> AnyPath:
    return to_path(work.receipts) / (task.path.replace("/", "--") + ".json")


def _digest(spans: Sequence[Span]) -> str:
    return hashlib.sha256(json.dumps(spans).encode()).hexdigest()
