"""Knows the installed distribution `cxrflow`: its packages, its version and how to install more of it."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from beam_prep.console.errors import UsageError

EXTRAS = {"beam_prep": "prep", "trainer": "train", "tuning": "tune", "k8s": "k8s"}
"""Package → the extra of the distribution with the dependencies of the package. A package imports only those before."""
ROOT = Path(__file__).parent.parent.parent
"""The folder that holds the packages: a checkout, or site-packages."""


def version() -> str:
    """Returns the version of the distribution; "unknown" where its files are used without being installed."""
    from importlib import metadata

    try:
        return metadata.version("cxrflow")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def install_command(extra: str) -> str:
    """Returns the command that installs an extra, from where this installation came from."""
    if (ROOT / "setup.py").is_file():
        return f"pip install --editable {quote(f'{ROOT}[{extra}]')}"
    return f"pip install {quote(f'cxrflow[{extra}]{_source()}')}"


def refuse_strangers(package: str) -> None:
    """Ends the process with exit code 2 if another distribution holds a package that this one imports.

    Args:
        package: the package that is started; it imports those before it in `EXTRAS`.
    """
    names = list(EXTRAS)
    for name in names[: names.index(package) + 1]:
        spec = find_spec(name)
        file = Path((spec and spec.origin) or ROOT)
        ours = ROOT / name / "__init__.py"
        if not (file.is_file() and file.samefile(ours) and "cxrflow" in file.read_text(encoding="utf-8")):
            where = f"is the package of another program, {file}" if spec else f"is missing; expected {ours.parent}"
            print(
                f"error: {name} {where}; install cxrflow into an environment of its own, and leave folders of this "
                "name out of PYTHONPATH and of the folder that you are in",
                file=sys.stderr,
            )
            sys.exit(UsageError.exit_code)


def _source() -> str:
    """Returns ` @ URL` with the address of the installed wheel or repository; nothing if it came from an index."""
    from importlib import metadata

    try:
        text = metadata.distribution("cxrflow").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    content = json.loads(text) if text else {}
    vcs = content.get("vcs_info", {}).get("vcs")
    return f" @ {f'{vcs}+' if vcs else ''}{content['url']}" if "url" in content else ""
