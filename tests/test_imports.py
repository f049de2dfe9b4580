"""The arrows between the rooms, each proven in a process of its own."""

import subprocess
import sys

import pytest

HEAVY = (
    "tensorflow",
    "keras",
    "keras_tuner",
    "apache_beam",
    "matplotlib",
    "sklearn",
    "skimage",
    "kubernetes",
    "google",
)


def loaded(statement: str) -> set[str]:
    """The modules that are loaded after a statement in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules} & {"beam_prep", "trainer", "tuning", "k8s"}


@pytest.mark.parametrize(
    "module",
    [
        "schema",
        "manifest",
        "config",
        "errors",
        "metadata",
        "duplicates",
        "traits",
        "audit",
        "splits",
        "spool",
        "work",
        "folder_lock",
        "plan",
        "storage",
        "objects",
        "streamed",
        "mirror",
        "periodic",
        "cores",
        "image_limits",
        "listing",
        "dataflow",
    ],
)
def test_contracts_of_beam_prep_need_the_standard_library_only(module):
    installed = loaded(f"import beam_prep.{module}") & {*HEAVY, "numpy", "PIL", "tyro", "jinja2"}
    assert not installed


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "config_file",
        "preset",
        "run_config",
        "cluster",
        "inputs",
        "folds",
        "job",
        "staging",
        "run_folder",
        "continuation",
        "uploads",
        "description",
        "thresholds",
        "together",
        "cli",
        "quiet_start",
        "task",
        "probe",
    ],
)
def test_what_answers_a_wrong_command_loads_nothing_heavy(module):
    assert not loaded(f"import trainer.{module}") & {*HEAVY, "numpy"}


def test_beam_prep_never_loads_tensorflow_and_knows_no_other_room():
    modules = loaded(
        "import importlib, pkgutil, beam_prep\n"
        "for module in pkgutil.walk_packages(beam_prep.__path__, 'beam_prep.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)"
    )
    assert "apache_beam" in modules, "all modules were loaded"
    assert not modules & {"tensorflow", "keras", "sklearn", "skimage"}
    assert rooms(modules) == {"beam_prep"}


def test_trainer_never_loads_beam_and_takes_only_the_contracts_of_beam_prep():
    modules = loaded(
        "import importlib, pkgutil, trainer\n"
        "for module in pkgutil.walk_packages(trainer.__path__, 'trainer.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)"
    )
    assert "tensorflow" in modules, "all modules were loaded"
    assert "apache_beam" not in modules
    assert rooms(modules) == {"beam_prep", "trainer"}
    allowed = {
        "schema",
        "manifest",
        "shards",
        "sources",
        "duplicates",
        "metadata",
        "images",
        "image_limits",
        "dicom",
        "codestream",
        "grey_scale",
        "kernels",
        "_kernels",
        "clahe",
        "pyramid",
        "errors",
        "folder_lock",
        "command_line",
        "page",
        "storage",
        "objects",
        "streamed",
        "mirror",
        "cores",
    }
    assert {name.split(".")[1] for name in modules if name.startswith("beam_prep.")} <= allowed


@pytest.mark.parametrize("module", ["trial", "results", "quantities", "table", "live", "hparams"])
def test_results_of_a_sweep_are_read_and_shown_without_anything_heavy(module):
    assert not loaded(f"import tuning.{module}") & {*HEAVY, "numpy", "tensorboard", "rich"}


def test_k8s_takes_only_configs_and_commands_of_the_other_rooms_and_nothing_heavy():
    modules = loaded(
        "import importlib, pkgutil, k8s\n"
        "for module in pkgutil.walk_packages(k8s.__path__, 'k8s.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)"
    )
    assert not modules & {*HEAVY, "numpy", "yaml"}
    of_configs = loaded(
        "import beam_prep.console.command_line, beam_prep.config, beam_prep.dataset.manifest\n"
        "import trainer.config.file, tuning.config"
    )
    assert rooms(modules - of_configs) == {"k8s"}


@pytest.mark.parametrize("module", ["config", "trial"])
def test_contracts_of_tuning_need_the_standard_library_only(module):
    assert not loaded(f"import tuning.{module}") & {*HEAVY, "numpy", "tyro", "yaml", "grpc", "jinja2"}


@pytest.mark.parametrize("module", ["cli", "search", "job", "trial_runner", "final", "plan"])
def test_what_answers_a_wrong_search_loads_nothing_heavy(module):
    assert not loaded(f"import tuning.{module}") & {*HEAVY, "numpy", "grpc"}


def test_tuning_stands_on_the_trainer_and_never_loads_beam():
    modules = loaded(
        "import importlib, pkgutil, tuning\n"
        "for module in pkgutil.walk_packages(tuning.__path__, 'tuning.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)"
    )
    assert {"keras_tuner", "tuning.report.sweep_page"} <= modules, "all modules were loaded"
    assert "apache_beam" not in modules
    assert rooms(modules) == {"beam_prep", "trainer", "tuning"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["k8s", "--help"],
        *(["k8s", "render", name, "--help"] for name in ("train", "sweep", "prep")),
        *(["k8s", "submit", name, "--help"] for name in ("train", "sweep", "prep")),
        *(["k8s", name, "--help"] for name in ("status", "logs", "wait", "delete")),
        ["beam_prep", "--help"],
        *(["beam_prep", name, "--help"] for name in ("synthesize", "prepare", "verify", "report")),
        ["trainer", "--help"],
        *(
            ["trainer", name, "--help"]
            for name in ("train", "presets", "probe", "evaluate", "predict", "explain", "export", "compare")
        ),
        ["tuning", "--help"],
        *(["tuning", name, "--help"] for name in ("search", "show")),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments):
    package, *rest = arguments
    modules = loaded(
        "import contextlib, io, runpy, sys\n"
        f"sys.argv = ['{package}', *{rest}]\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        f"    runpy.run_module('{package}', run_name='__main__')\n"
        "assert 'usage' in out.getvalue()"
    )
    assert not modules & {*HEAVY, "numpy"}


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
    assert not modules & {*HEAVY, "numpy", "requests", "urllib3"}
