"""Checks the content of a manifest, which may come from a stranger, entry by entry. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beam_prep.dataset.schema import (
    BINARY,
    ENCODINGS,
    EQUALIZATIONS,
    FITS,
    MULTICLASS,
    MULTILABEL,
    SPLITS,
    TASKS,
    is_class_name,
)
from beam_prep.storage.json_schema import (
    Mismatch,
    entries,
    list_of,
    mapping_of,
    nullable,
    number,
    one_of,
    or_scalars,
    scalar,
    text,
    whole,
)

MAX_RECORDS = 10**9
FRAME_BYTES = 16
"""The bytes of a record in a shard besides its data."""

_COUNT = whole(0, MAX_RECORDS)
_SHA256 = text(r"[0-9a-f]{64}", example=f"{'0123456789abcdef' * 4} (a SHA-256)")
_SIZE = text(r"[1-9]\d{1,3}", example="90 (a size in px)")
_SPLIT = one_of(*SPLITS)
_NAME = text(r"[^\0]+", example="NORMAL", most=100)
_COUNTS = mapping_of(_COUNT, _NAME, most=1000)
_WORDS = text(most=100_000)


def _class_name(value: Any, place: str) -> None:
    """Checks that a value is the name of a class."""
    _NAME(value, place)
    if not is_class_name(value):
        raise Mismatch(place, "the name of a class such as NORMAL", ascii(value))


_SHARD_PATH = r"size-[1-9]\d{1,3}/(train|val|test)-\d{5}-of-\d{5}\.tfrecord"


def _options(value: Any, place: str) -> None:
    """Checks the options of `prepare`, of which readers need two."""
    needed = {"equalization": one_of(*EQUALIZATIONS), "encoding": one_of(*ENCODINGS)}
    entries(needed, {"fit": one_of(*FITS)}, others=True)(value, place)
    mapping_of(or_scalars(scalar), most=100)(value, place)


_CHECK = entries(
    {
        "schema_version": whole(1, 1000),
        "fingerprint": _SHA256,
        "num_inputs": _COUNT,
        "num_records": _COUNT,
        "num_duplicates": _COUNT,
        "num_rejected": _COUNT,
        "num_near_duplicates": whole(),
        "rejected_by_reason": mapping_of(_COUNT, _NAME),
        "options": _options,
        "splits": mapping_of(
            entries(
                {
                    "num_records": _COUNT,
                    "class_counts": _COUNTS,
                    "class_weights": mapping_of(nullable(number(0, MAX_RECORDS)), _NAME, most=1000),
                    "num_groups": _COUNT,
                },
                {"known_counts": _COUNTS},
            ),
            _SPLIT,
        ),
        "pixels": mapping_of(nullable(entries({"mean": number(0, 255), "std": number(0, 255)})), _SIZE),
        "sizes": mapping_of(
            mapping_of(
                list_of(
                    entries(
                        {
                            "path": text(_SHARD_PATH, example="size-90/train-00000-of-00008.tfrecord"),
                            "num_records": _COUNT,
                            "size_bytes": whole(0, 2**40),
                            "sha256": _SHA256,
                        }
                    )
                ),
                _SPLIT,
            ),
            _SIZE,
        ),
        "class_names": list_of(_class_name, least=1, most=1000),
    },
    {
        "software": mapping_of(_WORDS),
        "patients": mapping_of(_COUNT),
        "warnings": list_of(_WORDS),
        "num_repaired": _COUNT,
        "input_counts": mapping_of(mapping_of(_COUNT)),
        "pictures": one_of("auto", "on", "off"),
        "task": one_of(*TASKS),
        "domains": mapping_of(mapping_of(mapping_of(_COUNT, _NAME), _SPLIT)),
        "cooccurrence": mapping_of(_COUNTS, _NAME, most=1000),
    },
)


def check_manifest(content: Any, place: str = "") -> None:
    """Checks the types and ranges of all entries of a manifest, and that its counts add up.

    Args:
        content: the parsed JSON.
        place: the place of the manifest in its file.

    Raises:
        Mismatch: an entry is not what a preparation writes; the error names the first such entry.
    """
    _CHECK(content, place)
    splits, sizes = content["splits"], content["sizes"]
    is_multilabel = _check_classes(content) == MULTILABEL
    _check_sum("num_records", content["num_records"], (split["num_records"] for split in splits.values()))
    for name in SPLITS:
        if name not in splits:
            raise Mismatch("splits", f"an entry {name}", "none")
        counts = splits[name]["class_counts"]
        for entry in ("class_counts", "class_weights", *(("known_counts",) if is_multilabel else ())):
            if list(splits[name].get(entry, ())) != content["class_names"]:
                raise Mismatch(f"splits.{name}.{entry}", f"the classes {content['class_names']}", "others")
        if is_multilabel:
            _check_findings(splits[name], f"splits.{name}")
        else:
            _check_sum(f"splits.{name}.num_records", splits[name]["num_records"], counts.values())
    for size, by_split in sizes.items():
        if not 16 <= int(size) <= 4096:
            raise Mismatch("sizes", "image sizes from 16 to 4096 px", size)
        for name, split in splits.items():
            shards = by_split.get(name, [])
            _check_sum(f"sizes.{size}.{name}", split["num_records"], (shard["num_records"] for shard in shards))
    _check_shards(sizes)


def _check_classes(content: Mapping[str, Any]) -> str:
    """Checks that the names of the classes differ and are as many as the task has; returns the task."""
    task, names = content.get("task", BINARY), content["class_names"]
    expected = {BINARY: "two different names", MULTICLASS: "three or more different names"}.get(task, "different names")
    fits = {BINARY: len(names) == 2, MULTICLASS: len(names) > 2}.get(task, True)
    if not fits or len(set(names)) != len(names):
        raise Mismatch("class_names", f"{expected} for the task {task}", f"{len(names)} names: {str(names)[:60]}")
    return task


def _check_findings(split: Mapping[str, Any], place: str) -> None:
    """Checks that no finding is known or present in more images than there are."""
    for name, known in split["known_counts"].items():
        if known > split["num_records"]:
            raise Mismatch(f"{place}.known_counts.{name}", f"at most {split['num_records']} images", str(known))
        if (present := split["class_counts"][name]) > known:
            raise Mismatch(f"{place}.class_counts.{name}", f"at most {known} images, which are known", str(present))


def _check_shards(sizes: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> None:
    """Checks that each shard lies in the folder of its size, is listed once and can hold its records."""
    paths = set()
    for place, prefix, shard in _shards(sizes):
        if not shard["path"].startswith(prefix) or shard["path"] in paths:
            raise Mismatch(f"{place}.path", f"a path of its own that begins with {prefix}", shard["path"])
        paths.add(shard["path"])
        if shard["size_bytes"] < FRAME_BYTES * shard["num_records"]:
            expected = f"at least {FRAME_BYTES} bytes for each of {shard['num_records']} records"
            raise Mismatch(f"{place}.size_bytes", expected, str(shard["size_bytes"]))


def _shards(sizes: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields the place in the manifest, the beginning of the path, and the entry of each shard."""
    for size, by_split in sizes.items():
        for name, shards in by_split.items():
            for index, shard in enumerate(shards):
                yield f"sizes.{size}.{name}[{index}]", f"size-{size}/{name}-", shard


def _check_sum(place: str, total: int, parts: Iterable[int]) -> None:
    found = sum(parts)
    if found != total:
        raise Mismatch(place, f"{total}, the sum of its parts", str(found))
