"""What a job that was cut short has done already: its prepared images and finished shards, where they still hold.

Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from beam_prep.dataset.image_stats import ImageStats
from beam_prep.dataset.manifest import Shard
from beam_prep.pipeline.spool import read_notes
from beam_prep.pipeline.work_folder import WorkFolder
from beam_prep.planning.outcomes import Prepared, Span
from beam_prep.planning.plan import ShardTask
from beam_prep.sources.discover import Source
from beam_prep.storage.atomic import write_text
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.paths import AnyPath, file_info, list_files, to_path


def note_of(source: Source, info: FileInfo, prepared: Prepared) -> str:
    """One line of the spool's notes: an image that is done."""
    return json.dumps({"source": source.to_json(), "stamp": info.stamp, "prepared": prepared._asdict()})


def prepared_of(note: str) -> Prepared:
    """The image of a note."""
    fields = json.loads(note)["prepared"]
    fields["sums"] = tuple(tuple(sums) for sums in fields["sums"])
    fields["spans"] = tuple(Span(*span) for span in fields["spans"])
    fields["traits"] = ImageStats(*fields["traits"])
    return Prepared(**fields)


def sort_out(work: WorkFolder, root: str, sources: Iterable[Source]) -> tuple[list[Source], list[str]]:
    """Sources that are still to be prepared, and the notes of those that need not be.

    A note holds where file, class, split and patient are as they were then and its records are whole in the spool.
    """
    notes: dict[str, tuple[list[int], str]] = {}  # source → stamp and note
    lengths = {path.name: path.stat().st_size for path in Path(work.spool).glob("*.spool")}
    for note in read_notes(work.spool):
        content = json.loads(note)
        if all(offset + length <= lengths.get(file, 0) for file, offset, length in content["prepared"]["spans"]):
            notes[content["source"]] = content["stamp"], note
    found = {file.name: file.stamp for file in list_files(to_path(root))} if notes else {}
    fresh, done = [], []
    for source in sources:
        stamp, note = notes.get(source.to_json(), (None, ""))
        if stamp is not None and tuple(stamp) == found.get(source.filename):
            done.append(note)
        else:
            fresh.append(source)
    return fresh, done


def finished_shard(work: WorkFolder, dataset: str, task: ShardTask) -> Shard | None:
    """The shard of a task if it was written before from the same spans; None if it is yet to be written."""
    try:
        receipt = json.loads(_receipt(work, task).read_text(encoding="utf-8"))
        shard = Shard(**receipt["shard"])
        size_bytes = file_info(to_path(dataset) / shard.path).size_bytes
        if receipt["spans"] == _digest(task.spans) and size_bytes == shard.size_bytes:
            return shard
    except (OSError, ValueError):  # no receipt, or no shard
        pass
    return None


def keep_receipt(work: WorkFolder, task: ShardTask, shard: Shard) -> None:
    """Notes that the shard of a task is written."""
    receipt = {"spans": _digest(task.spans), "shard": asdict(shard)}
    write_text(_receipt(work, task), json.dumps(receipt))


def _receipt(work: WorkFolder, task: ShardTask) -> AnyPath:
    return to_path(work.receipts) / (task.path.replace("/", "--") + ".json")


def _digest(spans: Sequence[Span]) -> str:
    return hashlib.sha256(json.dumps(spans).encode()).hexdigest()
