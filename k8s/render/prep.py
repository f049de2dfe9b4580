"""A preparation: a pod that does the work, or launches it on Dataflow and waits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from beam_prep.console.command_line import to_flags
from beam_prep.console.errors import UsageError
from k8s.render.jobs import job
from k8s.render.objects import Object
from k8s.render.pods import literal, pod_template
from k8s.spec import PrepSpec

COMMAND = ("python", "-m", "beam_prep", "prepare")
DATAFLOW = re.compile(r"(test)?dataflowrunner", re.IGNORECASE)
NEEDED = ("project", "region", "temp_location")


def render_prep(spec: PrepSpec, beam_args: Sequence[str]) -> list[Object]:
    """The object of a preparation.

    Args:
        spec: of the submission.
        beam_args: Beam's own options.

    Raises:
        UsageError: an option that Dataflow needs is missing, or a path that its workers can't see.
    """
    arguments = literal([*to_flags(spec.prep), *beam_args, *_dataflow_options(spec, beam_args)])
    return [job(spec, spec.name, "prep", pod_template(spec, "prep", COMMAND, arguments))]


def _dataflow_options(spec: PrepSpec, beam_args: Sequence[str]) -> list[str]:
    """The options of a job on Dataflow that are not given: its name and the image of its workers, which is our own.

    Of two jobs of one name Dataflow refuses the second: a launcher that is started again does no work twice.
    """
    given = _options(beam_args)
    if not DATAFLOW.fullmatch(given.get("runner", "")):
        return []
    if missing := [f"--{name}" for name in NEEDED if not given.get(name)]:
        raise UsageError(f"--runner {given['runner']} needs {', '.join(missing)}")
    for flag, path in (("input", spec.prep.input), ("output", spec.prep.output)):
        if not path.startswith("gs://"):
            raise UsageError(
                f"--{flag} {path}: the workers of Dataflow see no volume of this pod; expected gs://BUCKET/…"
            )
    ours = {"job_name": spec.name, "sdk_container_image": spec.image, "sdk_location": "container"}
    return [part for name, value in ours.items() if name not in given for part in (f"--{name}", value)]


def _options(beam_args: Sequence[str]) -> dict[str, str]:
    """Beam's options that have one value, as `--name value` or `--name=value`."""
    found: dict[str, str] = {}
    for index, argument in enumerate(beam_args):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            found[name[2:]] = value if equals else next(iter(beam_args[index + 1 : index + 2]), "")
    return found
