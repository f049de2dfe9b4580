"""The code keeps to the rules of docs/architecture/rooms.toml: what each room imports, and what it must not load."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from rooms import LIBRARIES, PACKAGES, ROOMS, ROOT

import beam_prep.cli
import cxrflow
import k8s.cli
import trainer.cli
import tuning.cli

MAX_MODULES, MAX_LINES = 14, 300
SLOW_TO_LOAD = {*LIBRARIES["heavy"], "numpy"}
WRONG_COMMANDS = [
    "beam_prep prepare --input nowhere --output out --image_sizes 0",
    "beam_prep verify nowhere",
    "trainer train --data nowhere --output out",
    "trainer train --data dataset --output out --image_size 7",
    "trainer train --data dataset --output out --fold 9/5",
    "trainer train --data dataset --output out --config nowhere.json",
    "trainer probe --data nowhere --output out",
    "trainer evaluate --run nowhere --data nowhere",
    "trainer evaluate --run nowhere --run nowhere --data nowhere --output out",
    "trainer export --run nowhere --output out",
    "tuning search --data nowhere --output out",
    "tuning search --data dataset --output out --learning_rate fast",
    "tuning show nowhere",
    "k8s render train --name x --image tag --data gs://bucket/data --output gs://bucket/out",
]
# These commands load numpy before they look at their input.
WRONG_COMMANDS_WITH_NUMPY = [
    "beam_prep report nowhere",
    "trainer predict --run nowhere image.png",
    "trainer explain --run nowhere image.png --output out",
    "trainer compare nowhere nowhere --output out.html",
]


def room_of(path: Path) -> str:
    """Returns the room of a module; `__main__` and `__init__` of a package belong to its `cli`."""
    module = path.relative_to(ROOT).with_suffix("")
    if len(module.parts) != 2:
        return ".".join(module.parts[:-1]) or module.name
    return f"{module.parts[0]}.{'cli' if module.name.startswith('__') else module.name}"


MODULES: dict[str, list[Path]] = defaultdict(list, cxrflow=[ROOT / "cxrflow.py"])
for package in PACKAGES:
    for path in sorted((ROOT / package).rglob("*.py")):
        MODULES[room_of(path)].append(path)


def imported_rooms(path: Path) -> set[str]:
    """Returns the other rooms that a module imports, at its top, inside its functions or under TYPE_CHECKING."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import; expected the name of the room"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {room_of(module_file(name)) for name in names if name.partition(".")[0] in PACKAGES} - {room_of(path)}


def module_file(name: str) -> Path:
    """Returns the file of a dotted name, whose last part may be a class or function in it."""
    place = ROOT / name.replace(".", "/")
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.exists():
            return file
    return module_file(name.rpartition(".")[0])


def loaded(statements: str) -> set[str]:
    """Returns the modules that are loaded after statements in a fresh interpreter."""
    code = f"{statements}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def import_all(paths: list[Path]) -> str:
    """Returns statements that import modules, except `__main__`, which would run."""
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__main__.py")
    return "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)


def test_every_room_has_its_rules():
    assert set(MODULES) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS.values(), ids=lambda room: room.name)
def test_a_room_imports_just_the_rooms_that_it_may(room):
    arrows = {(path.name, target) for path in MODULES[room.name] for target in imported_rooms(path)}
    assert {arrow for arrow in arrows if arrow[1] not in room.imports} == set(), "these imports are not allowed"
    assert set(room.imports) - {target for _, target in arrows} == set(), "no module needs these imports any more"


def test_the_allowed_imports_form_no_circle():
    TopologicalSorter({room.name: room.imports for room in ROOMS.values()}).prepare()


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_rooms_and_modules_are_small(folder):
    modules = [path for path in (ROOT / folder).rglob("*.py") if path.name not in ("__init__.py", "conftest.py")]
    sizes = defaultdict(list)
    for path in modules:
        sizes[path.parent.relative_to(ROOT)].append(path.name)
    assert {str(place): len(names) for place, names in sizes.items() if len(names) > MAX_MODULES} == {}
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("room", [room for room in ROOMS.values() if room.never], ids=lambda room: room.name)
def test_a_room_loads_no_library_that_it_must_not(room):
    assert not loaded(import_all(MODULES[room.name])) & room.forbidden


@pytest.mark.parametrize("package", PACKAGES.values(), ids=lambda package: package.name)
def test_a_package_loads_no_library_that_it_must_not(package):
    paths = [path for room, paths in MODULES.items() if room.startswith(f"{package.name}.") for path in paths]
    assert not loaded(import_all(paths)) & package.forbidden


def run(lines: list[str], folder: Path) -> dict[str, tuple[int, str, set[str]]]:
    """Runs commands one after the other in a fresh interpreter.

    Returns:
        The exit code of each command, its output, and the libraries of SLOW_TO_LOAD that are loaded when it ends.
    """
    code = (
        "import contextlib, io, json, runpy, sys\n"
        "outcomes = []\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    sys.argv, printed = line.split(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):\n"
        "        try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "        except SystemExit as end: outcomes.append([end.code, printed.getvalue(), list(sys.modules)])\n"
        "print(json.dumps(outcomes))"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)}
    arguments = [sys.executable, "-c", code, json.dumps(lines)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    outcomes = zip(lines, json.loads(result.stdout), strict=True)
    return {line: (code, printed, set(modules) & SLOW_TO_LOAD) for line, (code, printed, modules) in outcomes}


@pytest.mark.parametrize(
    ("program", "table"),
    [
        *((cli.__package__, cli.COMMANDS) for cli in (beam_prep.cli, trainer.cli, tuning.cli, k8s.cli)),
        ("cxrflow", [*cxrflow.OWN, "train", "k8s submit train"]),
    ],
)
def test_help_and_a_wrong_flag_load_nothing_heavy(program, table, tmp_path):
    commands = [f"{program} {name}".strip() for name in ("", *table)]
    wrong = run([f"{command} --no_such_flag=1" for command in commands], tmp_path)
    asked = run([f"{command} --help" for command in commands], tmp_path)
    assert {line: outcome for line, outcome in wrong.items() if outcome[0] != 2 or outcome[2]} == {}
    assert {line: outcome for line, outcome in asked.items() if outcome[0] != 0 or outcome[2]} == {}
    assert all("usage" in printed for _, printed, _ in asked.values())


@pytest.mark.parametrize(
    ("lines", "needed"),
    [(WRONG_COMMANDS, set()), (WRONG_COMMANDS_WITH_NUMPY, {"numpy"})],
    ids=["without-numpy", "with-numpy"],
)
def test_a_wrong_command_is_answered_without_loading_anything_heavy(lines, needed, tmp_path):
    (tmp_path / "dataset").symlink_to(ROOT / "tests/fixtures/before_rooms/dataset")
    outcomes = run(lines, tmp_path)
    assert {line: outcome for line, outcome in outcomes.items() if outcome[0] != 2 or outcome[2] - needed} == {}


def test_a_path_of_this_machine_loads_nothing_of_googles(tmp_path):
    modules = loaded(
        "from beam_prep.storage import atomic, mirror, paths, transfer\n"
        f"place = paths.to_path({str(tmp_path)!r})\n"
        "atomic.write_text(place / 'folder' / 'x', 'x')\n"
        "transfer.download([(file, place / 'y') for file in (place / 'folder').iterdir()])\n"
        "home = mirror.mirror_of(str(place))\n"
        "home.fetch(), home.push(), home.snapshot(''), list(paths.list_files(place))"
    )
    assert (tmp_path / "y").read_text() == "x"
    assert not modules & {*LIBRARIES["heavy"], "numpy", "requests", "urllib3"}
