"""A spec to API objects: plain data, in the order in which they are created."""

from __future__ import annotations

from collections.abc import Sequence

from k8s.render.objects import Object
from k8s.render.prep import render_prep
from k8s.render.sweep import render_sweep
from k8s.render.train import render_train
from k8s.spec import CommonSpec, PrepSpec, SweepSpec, TrainSpec


def render(spec: CommonSpec, more: Sequence[str] = ()) -> list[Object]:
    """The objects of a submission.

    Args:
        spec: `TrainSpec`, `SweepSpec` or `PrepSpec`.
        more: the flags that no config has: Beam's own options, of a preparation; those of `trainer train` that all
            trials share, of a sweep.

    Returns:
        Objects as the API takes them, all with `app.kubernetes.io/instance: NAME`.

    Raises:
        UsageError: these are wrong.
    """
    if isinstance(spec, PrepSpec):
        return render_prep(spec, more)
    if isinstance(spec, SweepSpec):
        return render_sweep(spec, more)
    assert isinstance(spec, TrainSpec), spec
    return render_train(spec)


def to_yaml(objects: Sequence[Object]) -> str:
    """The objects as documents of YAML."""
    import yaml

    return yaml.safe_dump_all(objects, sort_keys=False, width=120, allow_unicode=True)
