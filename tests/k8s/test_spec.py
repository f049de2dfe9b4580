"""Checks which flags are accepted, and which are refused before anything is printed."""

import shlex
from dataclasses import fields

import pytest
from submissions import DATAFLOW, IMAGE, PREP, SWEEP, TRAIN, rendered

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from k8s.cli import COMMANDS
from k8s.spec import CommonSpec, GpuSpec, PrepSpec, SweepSpec, TrainSpec
from trainer.config.train import TrainConfig
from tuning.config import SearchConfig


def names(config: type) -> set[str]:
    return {field.name for field in fields(config)}


@pytest.mark.parametrize(
    ("spec", "inner"),
    [(TrainSpec, TrainConfig), (SweepSpec, SearchConfig), (SweepSpec, TrainConfig), (PrepSpec, PrepConfig)],
)
def test_no_flag_means_two_things(spec, inner):
    assert not names(spec) & names(inner)


def test_no_flag_of_a_preparation_is_one_of_beams():
    from apache_beam.options.pipeline_options import PipelineOptions

    of_beam = PipelineOptions([]).get_all_options().keys()
    assert "temp_location" in of_beam
    assert not names(PrepSpec) & of_beam


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("train --name Chest", "--name Chest: expected lower-case letters"),
        ("train --name 1chest", "--name 1chest"),
        (f"train --name {'a' * 41}", "40 at most"),
        ("train --image registry/trainer:latest", "expected a digest"),
        (f"train --image {IMAGE[:-1]}", "expected a digest"),
        ("train --namespace My_Space!", "--namespace My_Space!"),
        ("train --cpu lots", "--cpu lots: expected a quantity of Kubernetes"),
        ("train --memory 16GB", "--memory 16GB"),
        ("train --shm 0", "--shm 0"),
        ("train --retries -1", "--retries is -1; expected at least 0"),
        ("train --retries 3000000000", "--retries is 3000000000; Kubernetes takes 2147483647 at most"),
        ("train --ttl_hours 600000", "--ttl_hours is 600000.0; Kubernetes takes 596523 at most"),
        ("train --ttl_hours inf", "--ttl_hours is inf; expected at least 0"),
        ("train --deadline_hours nan", "--deadline_hours is nan; expected at least 0.01"),
        ("train --grace_seconds 0", "--grace_seconds is 0"),
        ("train --deadline_hours 0", "--deadline_hours is 0"),
        ("train --pvc data", "--pvc data: expected CLAIM:/PATH"),
        ("train --pvc data:data", "expected CLAIM:/PATH"),
        ("train --pvc data:/tmp", "a folder of its own"),
        ("train --pvc data:/a/../b", "a folder of its own"),
        ("train --bucket gs://b:/data", "expected BUCKET:/PATH"),
        ("train --pvc a:/data --bucket b:/data", "several volumes at /data"),
        ("train --num_gpus -1", "--num_gpus is -1"),
        ("train --num_gpus 0 --gpu_type nvidia-l4", "--gpu_type is for GPUs, and --num_gpus is 0"),
        ("train --gpu_type l5", "expected l4, a100, h100, h200, b200, a name of GKE such as nvidia-l4"),
        ("train --num_nodes 0", "--num_nodes is 0"),
        ("train --num_nodes 2 --strategy mirrored", "trains on one machine, --num_nodes asks for 2"),
        ("train --num_gpus 4 --batch_size 18", "4 replicas do not divide"),
        ("train --num_nodes 5 --batch_size 18", "5 replicas do not divide"),
        ("train --num_gpus 2 --num_replicas 3", "more than the 2 of --num_gpus"),
        ("train --zoom 3", "--zoom is 3.0; expected less than 1"),
        ("train --track mlflow", "--track mlflow: the pods see no variables and no database of this machine"),
        ("train --track mlflow --track_uri http://host --track_secret mlflow", "name one server, by --track_uri"),
        ("train --track_secret mlflow", "--track_secret mlflow needs --track mlflow, which is missing"),
        ("train --track mlflow --track_secret My_Secret", "--track_secret My_Secret: expected lower-case letters"),
        ("train --track mlflow --track_uri mlruns", "expected a server or a database of MLflow"),
        ("train --bogus 3", "unknown option --bogus 3"),
        ("sweep --num_workers 0", "--num_workers is 0"),
        ("sweep --role chief --oracle a:1", "leave them out"),
        ("sweep --worker_index 3", "leave them out"),
        ("sweep --space space.yaml", "the pods don't see the files of this machine"),
        ("sweep --max_trials -1", "--max_trials is -1"),
        ("sweep --track mlflow", "--track mlflow: the pods see no variables"),
        ("sweep --bogus 3", "unknown option --bogus 3"),
        ("sweep --arch resnet", "--arch"),
        ("sweep --config a.json", "--config is no flag of a sweep"),
        ("sweep --preset bst", "--preset bst is unknown; expected one of: best, fast, study"),
        ("prep --salt_secret site-salt", "expected one salt for the hashes of patients, found 2"),
        ("prep --no_public_salt", "found none: --salt_secret NAME takes it from a Secret, --salt_file FILE names"),
        ("prep --val_fraction 2", "--val_fraction is 2.0"),
        ("prep --num_gpus 1 --runner DataflowRunner", "needs --project, --region, --temp_location"),
        (
            "prep --runner DataflowRunner --project p --region r --temp_location gs://b/t",
            "the workers of Dataflow see no volume",
        ),
        (
            f"{' '.join(('prep', *DATAFLOW[:-1]))} --no_public_salt --salt_secret site-salt",
            "--salt_secret site-salt: the workers of Dataflow see no Secret or volume of this pod",
        ),
        (
            f"{' '.join(('prep', *DATAFLOW[:-1]))} --no_public_salt --salt_file /data/salt",
            "--salt_file /data/salt: the workers of Dataflow see no Secret or volume of this pod",
        ),
    ],
)
def test_what_is_refused(flags, said):
    kind, *given = shlex.split(flags)
    needed = {"train": TRAIN, "sweep": SWEEP, "prep": PREP}[kind]
    with pytest.raises(UsageError) as error:
        rendered(kind, *needed, *given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tag_is_taken_where_it_is_asked_for():
    (job,) = rendered("train", *TRAIN, "--image", "registry/trainer:latest", "--allow_tag")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/trainer:latest"


def test_every_flag_has_a_help():
    for spec in (CommonSpec, GpuSpec, *(command.config for command in COMMANDS.values())):
        assert spec.__doc__


@pytest.mark.parametrize("kind", ["train", "sweep", "prep"])
@pytest.mark.parametrize("wrong", [(), ("--config", "/absent.json")])
def test_mistakes_are_one_line_and_nothing_is_printed(command, kind, wrong):
    result = command("k8s", "render", kind, "--name", "x", "--image", IMAGE, *wrong)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_the_commands_are_listed_for_their_first_word(command):
    for arguments in ([], ["--help"], ["render", "--help"]):
        assert "render train" in command("k8s", *arguments).stdout
    assert "expected one of: render train" in command("k8s", "render").stderr
