"""The program that a GPU runs for a training step, compiled for an H100 without one: a JSON line a case.

Run as `python benchmarks/gpu_program.py [CASE …]`, where the packages of the extra `xla` are installed. A line holds
what one step of several in a program does: the `kernels` that it starts, how many `of` each kind, and `operands_mb`,
the size of what these read and write at most; `compile_s` on one of this machine's cores, and `trace_s` before that, in
which Keras builds the network and TensorFlow traces the step; and `memory_mb`, the most that the program needs. These
are no times of a GPU, and the compiler is that of JAX: of nearly the same version as TensorFlow's, but another build.
The exit code is 1 if a program can't be compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_training import Case, all_cases

COMPILER = Path(__file__).with_name("gpu_compiler.py")

ALL_CHANGES = {
    **{"rotation_degrees": 30.0, "zoom": 0.2, "shift": 0.1, "gamma": 0.3, "contrast": 0.3, "brightness": 0.1},
    **{"sharpness": 0.5, "local_contrast": 0.5, "border": 0.1, "downsample": 1.0, "noise": 0.05, "jpeg_quality": 30},
    **{"cutout": 0.2, "mixup_alpha": 0.4, "label_smoothing": 0.1, "ema_decay": 0.99},
}
"""Flags of `train` that ask for every change of the images."""


def cases() -> dict[str, Case]:
    """Returns the cases by name: those of `gpu_training.py` that are deterministic, presets, and every change."""
    from trainer.config.presets import read_preset

    found = {name: case for name, case in all_cases().items() if case.flags.get("deterministic", True)}
    for preset in ("best", "fast"):
        flags = read_preset(preset).values
        arch, size, batch, precision = (flags.pop(name) for name in ("arch", "image_size", "batch_size", "precision"))
        found[f"preset {preset}"] = Case(arch, size, batch, precision, flags=flags)
    found["every change of images"] = Case("baseline_cnn", 90, 18, "bfloat16", flags=ALL_CHANGES)
    return found


def write_program(case: Case, path: Path, *, streamed: bool = False) -> float:
    """Writes the program of a training on a GPU, a serialized HLO module.

    Args:
        case: the training.
        path: the file.
        streamed: True writes the program of one step, to which its images are handed; False that of several steps on
            images that the device holds.

    Returns:
        The time that Keras took to build the network and TensorFlow to trace the program, s.
    """
    import numpy as np
    import tensorflow as tf
    from gpu_rivals import config_of

    from trainer import models
    from trainer.data.held_images import DeviceRows
    from trainer.training import train_step
    from trainer.training.phases import phases_of

    begun = time.perf_counter()
    train_step.has_gpu = lambda: True
    config, strategy = config_of(case, jit_compile="on"), tf.distribute.get_strategy()
    images = np.zeros((case.num_images, case.image_size, case.image_size, 1), np.uint8)
    step = train_step.TrainStep.for_phase(
        config,
        models.build(config),
        strategy,
        phases_of(config)[-1],
        steps_per_epoch=case.num_images // case.batch_size,
        rows=None if streamed else DeviceRows(images, strategy),
    )
    batch = tf.zeros([config.global_batch_size], tf.int64)
    batches = tf.stack([batch] * train_step.STEPS_OF_LOOP)
    streams, loops = step._programs.step, step._programs.loop
    arguments = (tf.gather(images, batch), batch) if streamed else (tf.constant(1), batches, batches)
    with step._programs.frozen.weights_held() if streamed else nullcontext():
        program = (streams if streamed else loops).experimental_get_compiler_ir(*arguments)
    path.write_bytes(program(stage="hlo_serialized"))
    return time.perf_counter() - begun


def compile_program(path: Path) -> dict[str, Any]:
    """Compiles a program with the flags that a training sets on a GPU, in a process that has no TensorFlow."""
    from trainer.device import DETERMINISTIC_FLAGS, GRAPH_FLAGS

    # TensorFlow sets the last one where operations have to be deterministic.
    flags = [*GRAPH_FLAGS, *DETERMINISTIC_FLAGS, "--xla_gpu_exclude_nondeterministic_ops=true"]
    env = {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    command = [sys.executable, str(COMPILER), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | env, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"error": f"{reason}; are the packages of the extra xla installed?" if "jax" in reason else reason}
    return dict(json.loads(result.stdout))


def main() -> int:
    """Prints a JSON line for each case; returns the exit code."""
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of: {'; '.join(known)}")
    parser.add_argument("--streamed", action="store_true", help="hand the images to each step, as if they did not fit")
    given = parser.parse_args()
    names = given.cases or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"unknown case {', '.join(unknown)}; expected some of: {'; '.join(known)}")
    code = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "program")
            trace_s = write_program(known[name], path, streamed=given.streamed)
            compiled = compile_program(path)
        line = {
            "case": name,
            "card": "H100, not timed",
            **compiled,
            "trace_s": round(trace_s, 1),
            "measured": asdict(known[name]),
        }
        print(json.dumps(line), flush=True)
        code = 1 if "error" in compiled else code
    return code


if __name__ == "__main__":
    sys.exit(main())
