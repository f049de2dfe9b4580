"""Writes the software bill of materials of each image, in CycloneDX 1.5, from its lock file. Standard library only.

Source: https://cyclonedx.org/docs/1.5/json/
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCKER = Path(__file__).parent


def bill_of(lock: Path) -> dict[str, Any]:
    """Returns the bill of the packages in a lock file, with the hashes that pip accepts for each."""
    components = []
    for line in re.sub(r"\\\n\s+", "", lock.read_text(encoding="utf-8")).splitlines():
        name, version, *hashes = re.split(r"==| ", line)
        components.append(
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{version}",
                "hashes": [{"alg": "SHA-256", "content": each.rpartition(":")[2]} for each in hashes],
            }
        )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"cxrflow-{lock.stem}"}},
        "components": components,
    }


def main() -> None:
    """Writes a bill for each lock file."""
    build = DOCKER.parent / "build"
    build.mkdir(exist_ok=True)
    for lock in sorted(DOCKER.glob("*.lock")):
        (build / f"sbom-{lock.stem}.json").write_text(json.dumps(bill_of(lock), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
