"""Renders a spec as API objects, in the order of their creation."""

from __future__ import annotations

from collections.abc import Sequence

from k8s.render.objects import Object
from k8s.render.prep import render_prep
from k8s.render.sweep import render_sweep
from k8s.render.train import render_train
from k8s.spec import CommonSpec, PrepSpec, SweepSpec, TrainSpec


def render(spec: CommonSpec, more: Sequence[str] = ()) -> list[Object]:
    """Renders the objects of a submission.

    Args:
        spec: a `TrainSpec`, `SweepSpec` or `PrepSpec`.
        more: flags that the spec does not hold: for a preparation Beam's flags, for a sweep the flags of
            `trainer train` that all trials share.

    Returns:
        API objects, all with the label `app.kubernetes.io/instance: NAME`.

    Raises:
        UsageError: the flags in `more` are wrong.
    """
    if isinstance(spec, PrepSpec):
        return render_prep(spec, more)
    if isinstance(spec, SweepSpec):
        return render_sweep(spec, more)
    assert isinstance(spec, TrainSpec), spec
    return render_train(spec)


def to_yaml(objects: Sequence[Object]) -> str:
    """Returns the objects as YAML, one document an object."""
    import yaml

    return yaml.safe_dump_all(objects, sort_keys=False, width=120, allow_unicode=True)
