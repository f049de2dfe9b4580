"""Measures the cases of `gpu_training.py` for one rival: this project, Keras or PyTorch."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_training import Case
from measure import phantom_images, write_dataset

REPEATS = 3
MIN_SECONDS = 0.2

Measurements = dict[str, Any]


def rate_of(run: Callable[[int], object], batch_size: int) -> float:
    """Returns the images per second of a function that runs a number of steps and waits for the device."""
    num_steps = 8
    begun = time.perf_counter()
    run(num_steps)
    while (seconds := time.perf_counter() - begun) < MIN_SECONDS / REPEATS:
        num_steps *= 2
        begun = time.perf_counter()
        run(num_steps)
    rates = [num_steps * batch_size / seconds]
    for _ in range(REPEATS - 1):
        begun = time.perf_counter()
        run(num_steps)
        rates.append(num_steps * batch_size / (time.perf_counter() - begun))
    return statistics.median(rates)


def seconds_of(run: Callable[[], object]) -> float:
    """Returns the median time of a function, which runs once before."""
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def first_seconds(run: Callable[[], object]) -> float:
    """Returns the time of the first run of a function, which compiles it."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def images_of(case: Case) -> dict[str, np.ndarray]:
    """Draws the training and validation images of a case, uint8 [N, S, S]."""
    return {
        "train": phantom_images(case.num_images, case.image_size),
        "val": phantom_images(case.num_val, case.image_size),
    }


def config_of(case: Case, **flags: Any) -> Any:
    """Returns the flags of `train` for a case."""
    from trainer.config.train import TrainConfig

    return TrainConfig(
        **{
            "data": "",
            "output": "",
            "arch": case.arch,
            "image_size": case.image_size,
            "batch_size": case.batch_size,
            "weights": "none",
            "fine_tune_epochs": 4 if case.trained == "last10" else 0,
            "precision": case.precision,
            **case.flags,
            **flags,
        }
    )


def flops_of_step(model: Any) -> float:
    """Returns the operations of a training step on one image: convolutions and dense layers, a product and a sum each.

    A layer counts once for its outputs; from the first trained layer on, also for the gradients of its inputs and of
    its weights.
    """
    total, is_trained = 0.0, False
    for layer in model.layers:
        if getattr(layer, "layers", None):
            base = flops_of_step(layer)
            total, is_trained = total + base, is_trained or bool(layer.trainable_weights)
        elif hasattr(layer, "kernel"):
            is_trained = is_trained or bool(layer.trainable_weights)
            places = np.prod(layer.output.shape[1:-1]) if len(layer.output.shape) > 2 else 1.0
            total += 2 * float(np.prod(layer.kernel.shape)) * float(places) * (3 if is_trained else 1)
    return total


def tensorflow_device(precision: str) -> tuple[str, float]:
    """Returns the name of the device, and its operations per second in a large matrix product."""
    import tensorflow as tf

    from trainer.device import device_name, share_gpus

    share_gpus()  # the processes of several rivals take turns on the same one
    side = 8192 if tf.config.list_physical_devices("GPU") else 512
    matrix = tf.ones([side, side], precision)
    product = tf.function(lambda: tf.matmul(matrix, matrix))

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            result = product()
        result[0, 0].numpy()

    return device_name(), 2 * side**3 * rate_of(run, 1)


def project(case: Case) -> Measurements:
    """Measures this project: its step on random images, and epochs of the command `train` on a dataset."""
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism

    from trainer import models
    from trainer.data.splits import open_split, read_manifest
    from trainer.evaluation.evaluate import predict_split
    from trainer.evaluation.predictor import Predictor
    from trainer.jobs.batch_size import random_training
    from trainer.jobs.train import train
    from trainer.run.folder import read_history
    from trainer.training.phases import freeze, phases_of

    disable_op_determinism()  # which an earlier case may have left on; a training switches it on if it is to be
    step = random_training(config_of(case))
    first_s = first_seconds(lambda: step(8))
    rate = rate_of(step, case.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        images = images_of(case)
        data = write_dataset(str(Path(folder, "dataset")), {**images, "test": images["train"][:0]})
        epochs = 1 if case.trained == "last10" else 4
        config = config_of(case, data=data, output=str(Path(folder, "run")), epochs=epochs, evaluate_test=False)
        _, numbers = train(config)
        rows = read_history(Path(config.output))[-3:]
        model = models.build(config)
        val = open_split(data, read_manifest(data), case.image_size, "val")
        predictor = Predictor(model, tf.distribute.get_strategy())
        validation_s = seconds_of(lambda: predict_split(predictor, val, "val", show_progress=False))
    freeze(model, phases_of(config)[-1])
    return {
        **measured(case, rate, statistics.median(row["seconds"] for row in rows), validation_s, first_s),
        "utilization": round(rate * flops_of_step(model) / tensorflow_device(case.precision)[1], 4),
        "training_over_step": round((numbers["speed"]["images_per_s"] or 0.0) / rate, 3),
        "speed": numbers["speed"],
    }


def keras_fit(case: Case) -> Measurements:
    """Measures `fit` of Keras on the same network, with its own layers for the augmentation, images in memory."""
    import keras
    import tensorflow as tf
    from augmentation import keras_layers

    from trainer import models
    from trainer.training.phases import freeze, phases_of

    config = config_of(case)
    phase, has_gpu = phases_of(config)[-1], bool(tf.config.list_physical_devices("GPU"))
    images = {split: array[..., None] for split, array in images_of(case).items()}
    labels = {split: np.arange(len(array)) % 2 for split, array in images.items()}
    pairs = {split: tf.data.Dataset.from_tensor_slices((images[split], labels[split])) for split in images}
    train = pairs["train"].shuffle(case.num_images).batch(case.batch_size, drop_remainder=True).prefetch(8)
    val = pairs["val"].batch(256).prefetch(2)
    model = models.build(config)
    freeze(model, phase)

    def compiled(network: keras.Model) -> keras.Model:
        make = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
        optimizer = make[phase.optimizer](phase.learning_rate)
        network.compile(optimizer, loss="binary_crossentropy", metrics=["accuracy"], jit_compile=has_gpu)
        return network

    bare = compiled(model)
    batch = tf.data.Dataset.from_tensors((images["train"][: case.batch_size], labels["train"][: case.batch_size]))
    repeated = batch.cache().repeat().prefetch(4)

    def step(num_steps: int) -> None:
        bare.fit(repeated, steps_per_epoch=num_steps, verbose=0)

    first_s = first_seconds(lambda: step(8))
    rate = rate_of(step, case.batch_size)
    validation_s = seconds_of(lambda: model.predict(val, verbose=0))
    augmented = compiled(keras.Sequential([keras_layers(), model]))
    epoch_s = seconds_of(lambda: augmented.fit(train, validation_data=val, verbose=0))
    return {
        **measured(case, rate, epoch_s, validation_s, first_s),
        "utilization": round(rate * flops_of_step(model) / tensorflow_device(case.precision)[1], 4),
    }


def measured(case: Case, rate: float, epoch_s: float, validation_s: float, first_s: float) -> Measurements:
    """Returns the measurements that all rivals have."""
    trained = case.num_images // case.batch_size * case.batch_size
    return {
        "step_images_per_s": round(rate, 1),
        "step_ms": round(1000 * case.batch_size / rate, 3),
        "epoch_s": round(epoch_s, 3),
        "epoch_images_per_s": round(trained / epoch_s, 1),
        "validation_images_per_s": round(case.num_val / validation_s, 1),
        "compile_s": round(first_s, 1),
    }


def pytorch(case: Case) -> Measurements:
    """Measures PyTorch, see `torch_training.py`; libraries of its networks may be missing."""
    from torch_training import measure

    return measured(case, *measure(case, images_of(case), rate_of, seconds_of, first_seconds))


def torch_device() -> str:
    """Returns the name of PyTorch's device."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


RIVALS: dict[str, tuple[Callable[[], str], Callable[[Case], Measurements]]] = {
    "project": (lambda: tensorflow_device("float32")[0], project),
    "keras": (lambda: tensorflow_device("float32")[0], keras_fit),
    "torch": (torch_device, pytorch),
}


def main(name: str) -> None:
    """Answers questions of `gpu_training.Rival`, a JSON line each: null asks for the device, an object is a case."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stdout
    device, measure = RIVALS[name]
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = device() if question is None else measure(Case(**question))
        except Exception as error:  # any error: the other cases are still measured
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
