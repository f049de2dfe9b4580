"""Describes a model as MLflow does, so that MLflow's own loaders take it: a file `MLmodel` with its signature.

MLflow's library for this needs pandas, which the client alone does not bring.

Source: https://mlflow.org/docs/latest/ml/model/ (format of `MLmodel`), `mlflow.keras.save_model` of MLflow 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

PLACE = "model"
"""The folder of the model among the artifacts of a run."""


def model_files(
    keras_file: Path,
    folder: Path,
    *,
    shapes: tuple[Sequence[int | None], Sequence[int | None]],
    software: Mapping[str, str],
) -> dict[str, Path]:
    """Writes the files that make a Keras model one of MLflow, and returns them with the model, by artifact path.

    Args:
        keras_file: the model of the run.
        folder: an empty folder for the files.
        shapes: the shapes of input and output, float32, whose first dimension is that of the images.
        software: the versions of `python`, `keras`, `tensorflow` and `numpy`, as `model.json` holds them.
    """
    import yaml

    described = {
        "flavors": {
            "keras": {
                "data": "data",
                "keras_backend": "tensorflow",
                "keras_version": software["keras"],
                "save_exported_model": False,
            },
            "python_function": {
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.keras",
                "python_version": software["python"],
            },
        },
        "model_size_bytes": keras_file.stat().st_size,
        "model_uuid": uuid4().hex,
        "signature": {
            "inputs": json.dumps([_tensor(shapes[0])]),
            "outputs": json.dumps([_tensor(shapes[1])]),
            "params": None,
        },
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    environment: dict[str, Any] = {
        "python": software["python"],
        "dependencies": [{"requirements": "requirements.txt"}],
    }
    requirements = "".join(f"{name}=={software[name]}\n" for name in ("keras", "tensorflow", "numpy"))
    texts = {
        "MLmodel": yaml.safe_dump(described, width=10_000),
        "python_env.yaml": yaml.safe_dump(environment),
        "requirements.txt": f"mlflow\n{requirements}",
        "data/keras_module.txt": "keras",
    }
    (folder / "data").mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    written = {name: folder / name for name in texts} | {"data/model.keras": keras_file}
    return {f"{PLACE}/{name}": file for name, file in written.items()}


def _tensor(shape: Sequence[int | None]) -> dict[str, Any]:
    """Returns the entry of a float32 tensor without a name in a signature; -1 stands for any number."""
    sizes = [-1 if size is None else size for size in shape]
    return {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": sizes}}
