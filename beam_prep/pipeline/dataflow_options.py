"""Checks the options of a Dataflow job before it is submitted, and completes them with a name, labels and packages.

The checks cover mistakes that the service reports late, by a job that fails after minutes, or one at a time.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from beam_prep.config import SALT_FLAGS, PrepConfig
from beam_prep.console.distribution import install_command
from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import is_bucket, is_inside, to_path

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
# Decoding holds the interpreter lock for a tenth of its time; a thread keeps one image and one spool object in memory.
THREADS_PER_PROCESS = 4
WORKER_EXTRA = "worker"  # the extra of the distribution that workers need besides Beam
_SHARED_CORE = re.compile(r"(f1-micro|g1-small|e2-(micro|small|medium))")
_FORMS = {
    "project": (r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "the ID of a project, such as my-project-123"),
    "region": (r"[a-z]+-[a-z]+\d+", "a region such as europe-west4, not a zone"),
    "job_name": (r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", "letters a to z, digits and hyphens, a letter first"),
    "machine_type": (r"[a-z][a-z0-9]*(-[a-z0-9]+)+", "a machine type such as n2-standard-4"),
    "service_account_email": (r"[^@\s]+@[^@\s]+\.gserviceaccount\.com", "NAME@PROJECT.iam.gserviceaccount.com"),
    "network": (r"[a-z]([a-z0-9-]*[a-z0-9])?", "the name of a network; give a shared one by --subnetwork URL"),
    "subnetwork": (
        r"(https://www\.googleapis\.com/compute/v1/projects/[^/]+/)?regions/[^/]+/subnetworks/[a-z][a-z0-9-]*",
        "regions/REGION/subnetworks/NAME, or the URL that ends so",
    ),
    "sdk_container_image": (r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", "HOST/PATH:TAG"),
}
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")


class SubmittedJob(NamedTuple):
    """A job that was submitted to the service, or the template of a job.

    Attributes:
        name: the name of the job.
        link: the page of the job in the console; empty for a template.
        template: the path of the template; empty for a job.
    """

    name: str
    link: str = ""
    template: str = ""


def is_dataflow(options: PipelineOptions) -> bool:
    """Returns True if the options name the Dataflow runner."""
    from apache_beam.options.pipeline_options import StandardOptions

    name = options.view_as(StandardOptions).runner or ""
    return name.rpartition(".")[2].lower() in ("dataflow", "dataflowrunner")


def is_prime(given: dict[str, Any]) -> bool:
    """Returns True for the options of Dataflow Prime, which picks the machines for each step."""
    return "enable_prime" in (given["dataflow_service_options"] or []) + (given["experiments"] or [])


def complete_options(options: PipelineOptions, config: PrepConfig) -> None:
    """Checks all options of a job and fills in those that follow from others.

    Raises:
        UsageError: options are wrong; the message has a line for each mistake.
    """
    from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, SetupOptions, WorkerOptions

    given = options.get_all_options()
    problems = list(_problems(given, config))
    if problems:
        raise UsageError("\n  ".join(["a job on Dataflow can't be submitted like this:", *problems]))
    cloud, setup = options.view_as(GoogleCloudOptions), options.view_as(SetupOptions)
    cloud.job_name = cloud.job_name or _job_name(config.output)
    cloud.staging_location = cloud.staging_location or cloud.temp_location
    named = {label.partition("=")[0] for label in cloud.labels or []}
    cloud.labels = (cloud.labels or []) + [label for label in _labels() if label.partition("=")[0] not in named]
    debug = options.view_as(DebugOptions)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or THREADS_PER_PROCESS
    if options.view_as(WorkerOptions).sdk_container_image:
        if setup.sdk_location == "default":
            setup.sdk_location = "container"
    elif not setup.requirements_file:
        setup.requirements_file = _requirements_file()
        setup.requirements_cache = "skip"  # workers install the packages from their index


def _job_name(output: str) -> str:
    """Returns a name that depends on the output folder alone.

    Dataflow runs no two jobs of one name, so that no two jobs write to one folder.
    """
    place = str(to_path(output))
    readable = re.sub(r"[^a-z0-9]+", "-", place.rpartition("/")[2].lower()).strip("-")[:30]
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    return "-".join(filter(None, ("cxrflow-prepare", readable, digest)))


def submitted_job(options: PipelineOptions, result: PipelineResult) -> SubmittedJob:
    """Describes a job, or a template, from its options and the result of the runner."""
    given = options.get_all_options()
    name = given["job_name"] or ""
    if given.get("template_location"):
        return SubmittedJob(name, template=given["template_location"])
    if hasattr(result, "job_id") and is_dataflow(options):
        return SubmittedJob(name, link=f"{CONSOLE}/{given['region']}/{result.job_id()}?project={given['project']}")
    return SubmittedJob(name)


def _labels() -> tuple[str, ...]:
    version = importlib.metadata.version("cxrflow").replace(".", "-")
    return ("application=cxrflow", "command=prepare", f"cxrflow-version={version}")


def _problems(given: dict[str, Any], config: PrepConfig) -> Iterator[str]:
    """Lists all mistakes in the options of a job."""
    if importlib.util.find_spec("google.cloud.dataflow") is None:
        yield f"submitting a job takes another package: {install_command('dataflow')}"
    for flag, place in (("input", config.input), ("output", config.output)):
        if not is_bucket(place):
            yield f"--{flag} {place}: workers see no disk of this machine; expected gs://BUCKET/NAME"
    if config.salt_file is None and not config.public_salt:
        yield f"no salt for the hashes of patients: {SALT_FLAGS}"
    if config.salt_file is not None and not is_bucket(config.salt_file):
        yield (
            f"--salt_file {config.salt_file}: workers see no disk of this machine, and whoever sees the job would see "
            "a salt in it; put the file into a bucket that few may read: gcloud storage cp FILE gs://BUCKET/NAME"
        )
    for flag in ("project", "region", "temp_location"):
        if not given[flag]:
            yield f"--{flag} is missing"
    for flag, (form, expected) in _FORMS.items():
        if given[flag] and not re.fullmatch(form, given[flag]):
            yield f"--{flag} {given[flag]}: expected {expected}"
    yield from _problems_of_places(given, config)
    yield from _problems_of_workers(given)
    yield from _problems_of_code(given)
    for label in given["labels"] or []:
        if not _LABEL.fullmatch(label):
            yield f"--labels {label}: expected key=value of a to z, digits, _ and -, where the key begins with a letter"


def _problems_of_places(given: dict[str, Any], config: PrepConfig) -> Iterator[str]:
    for flag in ("temp_location", "staging_location", "template_location"):
        place = given[flag]
        if place and not is_bucket(place):
            yield f"--{flag} {place}: expected gs://BUCKET/NAME"
        elif place and is_inside(to_path(place), to_path(config.output)):
            yield f"--{flag} {place}: lies inside --output, which is cleared; name another folder"
    if given["template_location"] and config.metadata_csv:
        yield "--template_location: --metadata_csv lists the images when the template is made; leave out one of the two"


def _problems_of_workers(given: dict[str, Any]) -> Iterator[str]:
    machine, most, first = given["machine_type"], given["max_num_workers"], given["num_workers"]
    if machine and _SHARED_CORE.fullmatch(machine):
        yield f"--machine_type {machine}: Dataflow takes no machine with a shared core; take e2-standard-2 or larger"
    if machine and is_prime(given):
        yield f"--machine_type {machine}: Dataflow Prime picks the machines; leave one of the two out"
    for flag in ("max_num_workers", "num_workers"):
        if given[flag] is not None and given[flag] < 1:
            yield f"--{flag} {given[flag]}: expected 1 or more"
    if most and first and first > most:
        yield f"--num_workers {first}: more than --max_num_workers {most}"
    region = re.search(r"regions/([^/]+)/", given["subnetwork"] or "")
    if region and given["region"] and region[1] != given["region"]:
        yield f"--subnetwork {given['subnetwork']}: lies in {region[1]}, the job in --region {given['region']}"


def _problems_of_code(given: dict[str, Any]) -> Iterator[str]:
    setup, image = given["setup_file"], given["sdk_container_image"]
    if not setup and not image:
        yield "workers need this project: add --setup_file ./setup.py, or --sdk_container_image IMAGE"
    if setup and (Path(setup).name != "setup.py" or not Path(setup).is_file()):
        yield f"--setup_file {setup}: expected the path of a file setup.py, found none"
    if given["use_public_ips"] is False and not image:
        yield "--no_use_public_ips: such workers reach no package index; take --sdk_container_image IMAGE"


def _requirements_file() -> str:
    """Writes a requirements file of the packages that workers need besides Beam; returns its path.

    The versions are those of this machine, so that workers give the same bytes.
    """
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in importlib.metadata.requires("cxrflow") or []]
    pins = sorted(
        f"{package.name}=={importlib.metadata.version(package.name)}"
        for package in wanted
        if not package.marker or ("extra" in str(package.marker) and package.marker.evaluate({"extra": WORKER_EXTRA}))
    )
    folder = tempfile.mkdtemp(prefix="cxrflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # Beam reads the file when the job is submitted
    path = Path(folder, "requirements.txt")
    path.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return str(path)
