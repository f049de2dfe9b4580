"""Every runner on this machine gives the same bytes and the same counts."""

import os
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker import data_plane
from apache_beam.utils.interactive_utils import is_in_ipython
from dataset_files import files_of

from beam_prep.config import PrepConfig
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.patient_groups import PUBLIC_SALT
from beam_prep.pipeline.graph import build
from beam_prep.pipeline.listing import Listing
from beam_prep.pipeline.local_job import prepare
from beam_prep.pipeline.runners import make_pipeline, outside_notebook, parse_options
from beam_prep.pipeline.transforms import NAMESPACE
from beam_prep.pipeline.work_folder import open_work_folder
from beam_prep.sources.discover import find_sources
from beam_prep.storage.locks import exclusive

PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
JOB_SERVER = Path(__file__).parents[2] / "fixtures" / "servers" / "flink_job_server.xml"
RESOLVE = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
WORKER_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture(scope="session")
def prism() -> tuple[str, ...]:
    """Options for Prism, which Beam's DirectRunner downloads where it can; here it is built from the Go package."""
    binary = Path(__file__).parents[3] / "build" / "bin" / "prism"
    if not binary.exists():
        if shutil.which("go") is None:
            pytest.skip("building Prism takes Go")
        environment = {**os.environ, "GOBIN": str(binary.parent), "GOFLAGS": "-mod=mod"}
        command = ["go", "install", f"{PRISM}@v{beam.__version__}"]
        subprocess.run(command, env=environment, check=True, timeout=900, capture_output=True)
    return ("--runner=PrismRunner", f"--prism_location={binary}")


@pytest.fixture(scope="session")
def flink() -> tuple[str, ...]:
    """Options for Flink on this machine, whose job server Beam's FlinkRunner starts; Maven fetches its parts once.

    The jar holds only the class path of these parts.
    """
    if shutil.which("java") is None or shutil.which("mvn") is None:
        pytest.skip("Flink takes Java and Maven")
    jar = Path(__file__).parents[3] / "build" / "flink" / "job-server.jar"
    jar.parent.mkdir(parents=True, exist_ok=True)
    classpath = jar.with_name("classpath.txt")
    command = ["mvn", "--batch-mode", "--quiet", "--file", JOB_SERVER, f"-Dmdep.outputFile={classpath}", RESOLVE]
    found = subprocess.run(command, check=False, timeout=900, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"Maven can't get the job server: {found.stdout[-300:]}")
    attributes = {
        "Manifest-Version": "1.0",
        "Main-Class": "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "Class-Path": " ".join(Path(part).as_uri() for part in classpath.read_text().strip().split(":")),
    }
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "".join(map(manifest_lines, attributes, attributes.values())))
    server = ("--flink_version=1.19", f"--flink_job_server_jar={jar}")
    return ("--runner=FlinkRunner", *server, "--environment_type=LOOPBACK", "--parallelism=2")


def manifest_lines(name: str, text: str) -> str:
    """An attribute of a jar; no line has more than 72 bytes."""
    line = f"{name}: {text}"
    return "\n ".join((line[:70], *(line[start : start + 70] for start in range(70, len(line), 70)))) + "\n"


@pytest.fixture
def flawed(images) -> Path:
    """A folder of 80 images, a copy, a broken file, and an image in the folders of both classes."""
    normal, pneumonia = (images / "chest_xray" / "train" / name for name in ("NORMAL", "PNEUMONIA"))
    one, two, *_ = sorted(normal.glob("*.jpeg"))
    shutil.copy(one, normal / "IM-9001-0001.jpeg")
    shutil.copy(two, pneumonia / "person9002_virus_1.jpeg")
    (normal / "IM-9003-0001.jpeg").write_bytes(b"broken")
    return images


def counters(config: PrepConfig, options: tuple[str, ...]) -> dict[str, int]:
    """Prepares with a runner of the test's choice and reads Beam's own counters."""
    with exclusive(config.output):
        work = open_work_folder(config.output, overwrite=False, job={})
        listing = Listing.write(work.listing, find_sources(config.input)[0])
        Path(work.done).touch()
        pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
        build(pipeline, config, work, listing, salt=PUBLIC_SALT, software={})
        result = pipeline.run()
        result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return {each.key.metric.name: each.result for each in found}


def check_runner(flawed: Path, folder: Path, options: tuple[str, ...]) -> None:
    config = PrepConfig(input=str(flawed), output=str(folder / "one"), image_sizes=(32, 96), num_shards=2)
    assert counters(config, options) == {
        "images_prepared": 82,
        "images_unreadable": 1,
        "inputs": 83,
        "records": 79,
        "duplicates": 1,
        "rejected": 3,
        "rejected_not_an_image": 1,
        "rejected_two_classes": 2,
    }
    manifest = Manifest.read(config.output)
    assert (manifest.num_inputs, manifest.num_records, manifest.num_duplicates, manifest.num_rejected) == (83, 79, 1, 3)
    for name in ("two", "here"):
        prepare(replace(config, output=str(folder / name)), options if name == "two" else ())
    assert files_of(folder / "two") == files_of(folder / "here")


def test_the_fn_api_runner(flawed, tmp_path):
    check_runner(flawed, tmp_path, ("--runner=FnApiRunner",))


@pytest.mark.slow
def test_worker_processes(flawed, tmp_path):
    check_runner(flawed, tmp_path, ("--runner=FnApiRunner", *WORKER_PROCESSES))


MANY = """
import apache_beam as beam
from beam_prep.pipeline.runners import make_pipeline, parse_options


def many(first):
    for number in range(first, 300_000, 2):
        yield number, "x" * 50


options = parse_options(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
with make_pipeline(options) as pipeline:
    written = pipeline | beam.Create([0, 1]) | beam.FlatMap(many) | beam.Reshuffle()
    _ = written | beam.combiners.Count.Globally() | beam.Map(print)
"""


@pytest.mark.slow
def test_threads_lose_nothing_of_what_is_written_for_seconds_without_a_pause():
    # In a process of its own: where Beam sends half an element, its reader takes all memory.
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)

    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # else each thread reserves addresses, more on more cores
    process = {"preexec_fn": bounded, "env": environment, "timeout": 200, "capture_output": True, "text": True}
    result = subprocess.run([sys.executable, "-c", MANY], check=False, **process)
    assert result.stdout.split() == ["300000"], result.stderr[-300:]


@pytest.mark.slow
def test_prism(flawed, tmp_path, prism):
    check_runner(flawed, tmp_path, prism)


@pytest.mark.slow
def test_flink(flawed, tmp_path, flink):
    check_runner(flawed, tmp_path, flink)


def test_workers_of_the_local_runner_send_by_size_and_not_by_time(monkeypatch):
    """A failure after an update of Beam means that large steps may hang, see `beam_prep/pipeline/runners.py`."""
    limits_ms = []
    create = data_plane.ClosableOutputStream.create

    def keep(close, flush, data_buffer_time_limit_ms):
        limits_ms.append(data_buffer_time_limit_ms)
        return create(close, flush, data_buffer_time_limit_ms)

    monkeypatch.setattr(data_plane.ClosableOutputStream, "create", staticmethod(keep))
    with make_pipeline(parse_options([])) as pipeline:
        pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.Map(print)
    assert limits_ms
    assert set(limits_ms) == {0}


def test_beam_sees_no_notebook_where_its_mode_for_notebooks_would_need_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    assert is_in_ipython()
    with outside_notebook():
        assert not is_in_ipython()
        assert beam.Pipeline() | beam.Create([1])
    assert is_in_ipython()
