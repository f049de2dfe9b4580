"""Renders a preparation: a pod that prepares the dataset, or launches a Dataflow job and waits for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from beam_prep.console.command_line import changed_flags
from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import is_bucket
from k8s.render.jobs import job
from k8s.render.objects import Object
from k8s.render.pods import SALT_FOLDER, kept_log, literal, pod_template
from k8s.spec import PrepSpec

COMMAND = ("python", "-m", "beam_prep", "prepare")
DATAFLOW_RUNNER = re.compile(r"(test)?dataflowrunner", re.IGNORECASE)
NEEDED = ("project", "region", "temp_location")
"""The options that a Dataflow job needs."""


def render_prep(spec: PrepSpec, beam_args: Sequence[str]) -> list[Object]:
    """Renders the object of a preparation.

    Args:
        spec: the spec of the submission.
        beam_args: the flags for Beam.

    Raises:
        UsageError: an option that Dataflow needs is missing, or its workers can't see a path.
    """
    prep = replace(spec.prep, salt_file=f"{SALT_FOLDER}/salt") if spec.salt_secret else spec.prep
    arguments = literal([*changed_flags(prep), *beam_args, *_dataflow_options(spec, beam_args)])
    env = kept_log(spec, spec.prep.output)
    return [job(spec, spec.name, "prep", pod_template(spec, "prep", COMMAND, arguments, env=env))]


def _dataflow_options(spec: PrepSpec, beam_args: Sequence[str]) -> list[str]:
    """Returns the options of a Dataflow job that the user did not give: its name and the image of its workers.

    Dataflow refuses a second job of the same name, so that a launcher that is restarted does not repeat the work. The
    workers run the same image as the launcher.
    """
    given = _options(beam_args)
    if not DATAFLOW_RUNNER.fullmatch(given.get("runner", "")):
        return []
    if missing := [f"--{name}" for name in NEEDED if not given.get(name)]:
        raise UsageError(f"--runner {given['runner']} needs {', '.join(missing)}")
    for flag, path in (("input", spec.prep.input), ("output", spec.prep.output)):
        if not is_bucket(path):
            raise UsageError(
                f"--{flag} {path}: the workers of Dataflow see no volume of this pod; expected gs://BUCKET/…"
            )
    if spec.salt_secret or not (spec.prep.public_salt or is_bucket(str(spec.prep.salt_file))):
        salt = f"--salt_secret {spec.salt_secret}" if spec.salt_secret else f"--salt_file {spec.prep.salt_file}"
        raise UsageError(
            f"{salt}: the workers of Dataflow see no Secret or volume of this pod; give --salt_file gs://BUCKET/NAME, "
            "a file that few may read"
        )
    defaults = {"job_name": spec.name, "sdk_container_image": spec.image, "sdk_location": "container"}
    return [part for name, value in defaults.items() if name not in given for part in (f"--{name}", value)]


def _options(beam_args: Sequence[str]) -> dict[str, str]:
    """Returns Beam's options that have one value, given as `--name value` or `--name=value`."""
    options: dict[str, str] = {}
    for index, argument in enumerate(beam_args):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            options[name[2:]] = value if equals else next(iter(beam_args[index + 1 : index + 2]), "")
    return options
