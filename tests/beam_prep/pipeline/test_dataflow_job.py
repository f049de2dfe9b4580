"""A preparation on Dataflow: a real submission, by Beam's DataflowRunner, to a service that runs what it is handed."""

import importlib.metadata
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dataflow_service import ID, DataflowService, serving, steps_of
from dataset_files import files_of

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.pipeline import dataflow_job
from beam_prep.pipeline.local_job import prepare

pytest.importorskip("google.cloud.dataflow", reason="submitting takes the extra dataflow")
# Beam looks at a job every five seconds, and again: a test that follows one takes twenty.
ROOT = Path(__file__).parents[3]
IMAGE = "europe-docker.pkg.dev/clinic-1/cxrflow/prep:1"
PLAN = "MakePlan/ParDo(MakePlan)"
SUBNETWORK = "regions/europe-west4/subnetworks/private"


@pytest.fixture
def service(bucket) -> Iterator[DataflowService]:
    with serving(bucket) as service:
        yield service


@pytest.fixture
def config(bucket, phantoms) -> PrepConfig:
    raw = bucket.put(phantoms, "raw")
    return PrepConfig(input=raw, output=f"{bucket.url}/out", image_sizes=(32, 96), num_shards=2, public_salt=True)


@pytest.fixture
def options(service, bucket, monkeypatch) -> list[str]:
    """The options that a person gives on the command line."""
    monkeypatch.setattr(dataflow_job, "POLL_S", 0.1)
    return [
        "--runner=DataflowRunner",
        "--project=clinic-1",
        "--region=europe-west4",
        f"--temp_location={bucket.url}/temp",
        f"--staging_location={bucket.url}/staging",
        f"--dataflow_endpoint={service.url}",
        "--no_auth",
        f"--sdk_container_image={IMAGE}",
    ]


def prepared(bucket) -> dict[str, bytes]:
    return {name: data for name, data in bucket.files("out").items() if name != "report.html"}


@pytest.mark.slow
def test_the_job_is_followed_to_a_dataset_with_the_bytes_of_a_local_one(config, options, bucket, dataset, capsys):
    told = []
    manifest = prepare(config, options, told.append)
    assert [(job.name, job.link) for job in told] == [
        (
            "cxrflow-prepare-out-e6180c56",
            f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{ID}?project=clinic-1",
        )
    ]
    assert manifest.num_records == 80
    assert prepared(bucket) == files_of(dataset), "spool and shards lay in the bucket, and nothing is left of the spool"
    assert "out/report.html" in bucket.files()
    shown = capsys.readouterr().err.splitlines()[-1]
    assert "prepare: 80 images" in shown
    assert "inputs=80, records=80, duplicates=0, rejected=0" in shown


@pytest.fixture
def posted(config, options, service) -> DataflowService:
    """The service with a submitted job that has all options and has not begun."""
    service.works = False
    more = [
        "--machine_type=n2-standard-4",
        "--num_workers=2",
        "--max_num_workers=40",
        "--service_account_email=prep@clinic-1.iam.gserviceaccount.com",
        "--network=default",
        f"--subnetwork={SUBNETWORK}",
        "--no_use_public_ips",
        "--labels=team=lung",
        "--labels=command=mine",
    ]
    assert prepare(replace(config, wait=False), [*options, *more]) is None
    return service


def test_the_job_is_what_was_asked_for(posted):
    job, (pool,) = posted.job, posted.job["environment"]["workerPools"]
    assert job["type"] in ("JOB_TYPE_BATCH", 1)
    version = importlib.metadata.version("cxrflow").replace(".", "-")
    assert job["labels"] == {
        "team": "lung",
        "command": "mine",
        "application": "cxrflow",
        "cxrflow-version": version,
    }
    assert job["environment"]["serviceAccountEmail"] == "prep@clinic-1.iam.gserviceaccount.com"
    assert (pool["machineType"], pool["numWorkers"]) == ("n2-standard-4", 2)
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 40
    assert (pool["network"], pool["subnetwork"]) == ("default", SUBNETWORK)
    assert pool["ipConfiguration"] in ("WORKER_IP_PRIVATE", 2)
    assert pool["numThreadsPerWorker"] == 4
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert steps_of(posted.pipeline) == {
        "Start",
        "ClearOutput",
        "SpreadRanges",
        "ListRange",
        "SpreadOut",
        "PrepareImage",
        "GatherMetadata",
        "MakePlan",
        "SpreadShards",
        "WriteShard",
        "GatherShards",
        "WriteManifest",
        "RemoveWorkFolder",
    }


def test_steps_that_need_memory_say_so_to_prime(config, options, service):
    service.works = False
    prepare(replace(config, wait=False), [*options, "--dataflow_service_options=enable_prime"])
    steps = {each.unique_name: each.environment_id for each in service.pipeline.components.transforms.values()}
    environments = service.pipeline.components.environments

    def gigabytes(step: str) -> float:
        return int(environments[steps[step]].resource_hints.get("beam:resources:min_ram_bytes:v1", b"0")) / 10**9

    asked = ("PrepareImage", "GatherMetadata/OneKey", "GatherMetadata/Listed", PLAN, "WriteShard")
    assert [gigabytes(step) for step in asked] == [4, 0, 16, 16, 0]


def test_nothing_is_cleared_by_who_submits(posted, bucket):
    assert not bucket.files("out")


@pytest.mark.slow
def test_setup_py_brings_what_workers_need_and_no_tensorflow(config, options, service, bucket):
    service.works = False
    flags = [option for option in options if "container" not in option]
    prepare(replace(config, wait=False), [*flags, f"--setup_file={ROOT / 'setup.py'}"])
    staged = {name.rpartition("/")[2]: data for name, data in bucket.files("staging").items()}
    with tarfile.open(fileobj=io.BytesIO(staged["workflow.tar.gz"])) as archive:
        assert any(name.endswith("/beam_prep/pipeline/transforms.py") for name in archive.getnames())
        assert any(name.endswith("/beam_prep/report/templates/dataset.html.j2") for name in archive.getnames())
    wanted = staged["requirements.txt"].decode()
    for package in ("numpy", "pillow", "pydicom", "google-cloud-storage"):
        assert f"{package}=={importlib.metadata.version(package)}" in wanted
    assert not re.search("tensorflow|keras|matplotlib|apache-beam", wanted)


def test_a_template_is_written_and_nothing_is_run(config, options, service, bucket):
    told = []
    assert prepare(config, [*options, f"--template_location={bucket.url}/templates/prepare"], told.append) is None
    assert [job.template for job in told] == [f"{bucket.url}/templates/prepare"]
    assert json.loads(bucket.files()["templates/prepare"])["name"] == told[0].name
    assert not service.job
    assert not bucket.files("out")


def test_no_wait_says_where_the_job_is(command, config, options, service):
    service.works = False
    places = ("--input", config.input, "--output", config.output, "--public_salt")
    done = command("beam_prep", "prepare", *places, "--no_wait", *options)
    assert done.returncode == 0, done.stderr
    assert (
        f"console:   https://console.cloud.google.com/dataflow/jobs/europe-west4/{ID}?project=clinic-1" in done.stdout
    )
    assert f"cxrflow report {config.output} --input {config.input}" in done.stdout


@pytest.mark.slow
def test_a_job_that_fails_is_exit_1_with_its_reason(command, config, options, bucket):
    bucket.fail(r"IM-0002-0001\.jpeg.*alt=media", status=403)
    places = ("--input", config.input, "--output", config.output, "--public_salt")
    done = command("beam_prep", "prepare", *places, *options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: the job failed, {config.output} holds no new dataset: ")
    assert "IM-0002-0001.jpeg: access is forbidden (403)" in last
    assert f"see https://console.cloud.google.com/dataflow/jobs/europe-west4/{ID}" in last


@pytest.mark.slow  # Beam asks three times
def test_a_job_that_the_service_refuses_is_one_line(config, options, service):
    service.refuse_with = 403
    with pytest.raises(RunError, match=r"the job failed, .*: 403 .*made for the test"):
        prepare(config, options)


@pytest.mark.slow
def test_a_job_without_a_class_ends_without_a_dataset(config, options, bucket):
    for name in bucket.files():
        if "PNEUMONIA" in name:
            bucket._storage.delete_file("hospital", name)
    with pytest.raises(RunError, match="holds no dataset: no image of class PNEUMONIA is left"):
        prepare(config, options)


@pytest.mark.slow
def test_a_group_regex_that_matches_nothing_ends_without_a_dataset(config, options):
    with pytest.raises(RunError, match="holds no dataset: --group_regex Q matches no path"):
        prepare(replace(config, group_regex="Q"), options)


def test_all_that_is_wrong_is_said_at_once(command, tmp_path):
    (salt := tmp_path / "salt").write_bytes(b"s" * 16)
    done = command(
        "beam_prep",
        "prepare",
        *("--input", tmp_path),
        *("--output", "gs://hospital/out"),
        *("--runner", "DataflowRunner"),
        *("--region", "europe-west4-b"),
        *("--temp_location", "gs://hospital/out/temp"),
        *("--staging_location", tmp_path),
        *("--machine_type", "f1-micro"),
        *("--num_workers", "9"),
        *("--max_num_workers", "3"),
        *("--service_account_email", "me@example.org"),
        *("--subnetwork", "regions/us-east1/subnetworks/private"),
        *("--labels", "Team=Lung"),
        "--no_use_public_ips",
        *("--salt_file", salt),
    )
    assert done.returncode == 2
    loading, first, *lines = done.stderr.splitlines()
    assert loading == "loading Apache Beam …"
    assert first == "error: a job on Dataflow can't be submitted like this:"
    expected = (
        f"--input {tmp_path}: workers see no disk",
        f"--salt_file {salt}: workers see no disk of this machine, and whoever sees the job would see a salt in it",
        "--project is missing",
        "--region europe-west4-b: expected a region",
        "--service_account_email me@example.org: expected NAME@",
        "--temp_location gs://hospital/out/temp: lies inside --output",
        f"--staging_location {tmp_path}: expected gs://",
        "--machine_type f1-micro: Dataflow takes no machine with a shared core",
        "--num_workers 9: more than --max_num_workers 3",
        "--subnetwork regions/us-east1/subnetworks/private: lies in us-east1",
        "workers need this project: add --setup_file",
        "--no_use_public_ips: such workers reach no package index",
        "--labels Team=Lung: expected key=value",
    )
    assert len(lines) == len(expected), done.stderr
    for line, said in zip(lines, expected, strict=True):
        assert line.strip().startswith(said)


def test_a_job_without_a_salt_is_refused(config, options):
    with pytest.raises(UsageError, match="no salt for the hashes of patients: --salt_file FILE names a secret one"):
        prepare(replace(config, public_salt=False), options)


def test_no_wait_is_for_dataflow_alone(phantoms, tmp_path):
    with pytest.raises(UsageError, match="--no_wait: only a job on Dataflow"):
        prepare(PrepConfig(input=str(phantoms), output=str(tmp_path / "out"), wait=False))


@pytest.mark.slow
def test_a_metadata_file_is_held_against_the_whole_input_before_the_job(config, options, bucket, tmp_path):
    """Classes and patients are those of the file; the launcher finds its mistakes. Workers read a secret salt."""
    names = [name for name in bucket.files("raw") if name.endswith(".jpeg")]
    table = tmp_path / "images.csv"
    rows = [f"{name},{'PNEUMONIA' if index % 2 else 'NORMAL'},{index}" for index, name in enumerate(names)]
    table.write_text("\n".join(["path,label,group", *rows]) + "\n")
    bucket.write("etc/salt", b"s" * 16)
    asked = replace(config, metadata_csv=str(table), public_salt=False, salt_file=f"{bucket.url}/etc/salt")
    manifest = prepare(asked, options)
    assert manifest.num_records == 80
    assert sum(split.class_counts["NORMAL"] for split in manifest.splits.values()) == 40
    assert not any("_work" in name for name in bucket.files("out"))

    table.write_text("path,label\nabsent.jpeg,NORMAL\n")
    with pytest.raises(UsageError, match=r"no image absent\.jpeg"):
        prepare(replace(asked, overwrite=True), options)
    assert "manifest.json" in bucket.files("out"), "the dataset that was there"


@pytest.mark.slow
def test_a_public_set_is_described_by_the_launcher(config, options):
    manifest = prepare(replace(config, layout="kaggle"), options)
    assert (manifest.options["layout"], manifest.num_records, manifest.patients) == ("kaggle", 80, {"kaggle": 80})
