"""Reads YAML files that users name in flags; JSON is YAML too. PyYAML loads on use."""

from __future__ import annotations

from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import read_file, to_path


def read_yaml(flag: str, path: str, max_bytes: int, *, as_text: bool = True) -> Any:
    """Reads a YAML file.

    Args:
        flag: the flag that names the file, for messages.
        path: the file.
        max_bytes: the size of the largest file that is read.
        as_text: True keeps all scalars as texts, such as 0, no and null; False makes numbers, truth values and None.

    Raises:
        UsageError: the file can't be read, or is no YAML.
    """
    import yaml

    try:
        text = read_file(to_path(path), max_bytes).decode()
        return yaml.load(text, yaml.BaseLoader if as_text else yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"--{flag} {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a date that does not exist
        raise UsageError(f"--{flag} {path}: not YAML or JSON: {' '.join(str(error).split())}") from None
