"""Recognizes a finished dataset of the same inputs and options, for which the same command has nothing to do.

Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.patient_groups import Salt
from beam_prep.dataset.schema import SCHEMA_VERSION
from beam_prep.pipeline.work_folder import NOTE_NAME
from beam_prep.sources.discover import Source
from beam_prep.storage.atomic import write_text
from beam_prep.storage.paths import AnyPath, file_stamps, read_file


def inputs_digest(options: Mapping[str, Any], salt: Salt, raw: AnyPath, sources: Sequence[Source]) -> str:
    """Returns a SHA-256 (hex) that is equal for equal options, salts and images; images are told by size and time.

    Args:
        options: the options that shape the records and their splits.
        salt: the salt of the hashes.
        raw: the input folder, whose own path does not count.
        sources: the inputs with their classes, splits and patients.
    """
    stamps = file_stamps(raw, (source.filename for source in sources))
    digest = hashlib.sha256(json.dumps(options).encode() + hashlib.sha256(salt.value).digest())
    for source in sources:
        digest.update(json.dumps([source.to_json(), stamps.get(source.filename)]).encode())
    return digest.hexdigest()


def write_note(dataset: AnyPath, digest: str) -> None:
    """Writes the digest of the inputs into a dataset folder."""
    write_text(dataset / NOTE_NAME, digest)


def check_options(config: PrepConfig, shaping: Mapping[str, Any], dataset: AnyPath) -> Manifest:
    """Returns the manifest of a dataset; raises a UsageError if it was made with other options.

    Args:
        config: the options of the preparation.
        shaping: those that shape the records and their splits.
        dataset: the dataset folder.
    """
    manifest = Manifest.read(dataset)
    if manifest.schema_version != SCHEMA_VERSION:
        raise _holds_another(config, f", of the older schema version {manifest.schema_version}")
    here = {**shaping, "pictures": config.pictures}
    there = manifest.options | {"pictures": manifest.pictures}
    values = {name: (_option(there, name), _option(here, name)) for name in there | here}
    differing = [f"--{name} {_say(old)} there, {_say(new)} here" for name, (old, new) in values.items() if old != new]
    if differing:
        raise _holds_another(config, f" ({'; '.join(differing)})")
    return manifest


def _option(options: Mapping[str, Any], name: str) -> Any:
    """Returns the value of an option; those with their default value may be left out."""
    return options.get(name, getattr(PrepConfig, name, None))


def _say(value: Any) -> str:
    """Returns the value of a flag in words; that of a flag that is not given is the default."""
    return "by default" if value in (None, ()) else str(value)


def check_inputs(config: PrepConfig, dataset: AnyPath, digest: str) -> None:
    """Checks that a dataset was made of the inputs with this digest; raises a UsageError if not."""
    try:
        noted = read_file(dataset / NOTE_NAME, len(digest)).decode("utf-8", "replace")
    except OSError:
        raise _holds_another(config, "") from None  # made on a cluster, or by an older version
    if noted != digest:
        raise _holds_another(config, ", of other images, labels, patients, splits or another salt")


def _holds_another(config: PrepConfig, difference: str) -> UsageError:
    return UsageError(
        f"--output {config.output}: holds a dataset already{difference}; name another folder, or add --overwrite"
    )
