"""One training: the model through its phases, the best weights kept, history and TensorBoard logs written."""

from __future__ import annotations

import math
import os
import platform
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from beam_prep.errors import RunError
from beam_prep.manifest import Manifest
from trainer import metrics, models
from trainer.augment import random_affine
from trainer.config import TrainConfig
from trainer.dataset import training_batches
from trainer.evaluation import Evaluation, evaluate_split, fit_operating_point, predict_split, readable_records
from trainer.inputs import SplitSource
from trainer.loop import Evaluator, Loop
from trainer.phases import Phase, count_parameters, freeze, make_optimizer, phases_of
from trainer.progress import progress_bar
from trainer.run_folder import open_output
from trainer.strategy import make_strategy


class Training:
    """A training job.

    Args:
        config: its flags.
        manifest: of the dataset.
        sources: its splits at the size of the config.

    Raises:
        UsageError: the devices or the pretrained weights are not there; nothing was written.
    """

    def __init__(self, config: TrainConfig, manifest: Manifest, sources: dict[str, SplitSource]) -> None:
        self.config = config
        self.manifest = manifest
        self.sources = sources
        self.strategy = make_strategy(config)
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            self.model = models.build(config)
        self._evaluator = Evaluator(self.model, self.strategy)
        self.folder = open_output(config.output, overwrite=config.overwrite)
        weights = manifest.splits["train"].class_weights
        self._class_weights = [weights[n] or 0.0 if config.class_weights else 1.0 for n in manifest.class_names]
        self.history: list[dict[str, Any]] = []
        self._phases: list[dict[str, Any]] = []
        self._best: dict[str, Any] = {"val_loss": math.inf}
        self._best_weights: list[np.ndarray] = []

    def run(self) -> None:
        """Trains all phases and saves the model that was best by validation loss.

        Raises:
            RunError: the loss is not finite any more, or the records can't be read.
        """
        self.folder.write_json("config", self.config.to_json())
        for index, phase in enumerate(phases_of(self.config)):
            self._run_phase(phase, index)
            with self.strategy.scope():
                self.model.set_weights(self._best_weights)
        self.operating_point = fit_operating_point(self._evaluator, self.sources["val"], self.config.threshold_rule)
        self._save_model()
        self.folder.write_json("model", self._describe())

    def evaluate(self) -> list[Evaluation]:
        """Evaluates the saved model on test (where there is one) and val."""
        filled = [split for split in ("test", "val") if self.sources[split].num_records]
        return [self._evaluate_split(split) for split in filled]

    def _evaluate_split(self, split: str) -> Evaluation:
        point, prevalence = self.operating_point, self.config.prevalence
        return evaluate_split(self._evaluator, self.sources[split], split, point=point, prevalence=prevalence)

    def _run_phase(self, phase: Phase, index: int) -> None:
        loop = self._make_loop(phase, index)
        callbacks = self._make_callbacks()
        started = time.monotonic()
        callbacks.on_train_begin()
        for epoch in range(phase.epochs):
            epoch_started = time.monotonic()
            learning_rate = float(keras.ops.convert_to_numpy(loop.optimizer.learning_rate))
            callbacks.on_epoch_begin(len(self.history))
            logs = self._run_epoch(loop, phase, epoch)
            callbacks.on_epoch_end(len(self.history), {k: v for k, v in logs.items() if v is not None})
            seconds = round(time.monotonic() - epoch_started, 2)
            self.history.append(
                {"phase": phase.name, "epoch": epoch + 1, **logs, "learning_rate": learning_rate, "seconds": seconds}
            )
            self.folder.write_history(self.history)
            if logs["val_loss"] < self._best["val_loss"]:
                self._best = {"phase": phase.name, "epoch": epoch + 1, "val_loss": logs["val_loss"]}
                self._best_weights = self.model.get_weights()
        callbacks.on_train_end()
        self.model.optimizer = None  # its state is no part of the saved model
        seconds = round(time.monotonic() - started, 1)
        self._phases.append(
            {"name": phase.name, **count_parameters(self.model), "epochs": phase.epochs, "seconds": seconds}
        )

    def _run_epoch(self, loop: Loop, phase: Phase, epoch: int) -> dict[str, Any]:
        """One pass over train, one over val; returns the row of the history but for time and learning rate."""
        config, train = self.config, self.sources["train"]
        num_steps = train.num_records // config.batch_size
        batches = training_batches(train, batch_size=config.batch_size, seed=config.seed, epoch=len(self.history))
        with progress_bar(f"{phase.name} {epoch + 1}/{phase.epochs}", num_steps, unit="steps") as bar:
            with readable_records():
                distributed = iter(self.strategy.experimental_distribute_dataset(batches))
                logs = loop.train_epoch(distributed, num_steps, on_step=bar.update)
            if not math.isfinite(logs["loss"]):
                raise RunError(
                    f"the loss became {logs['loss']} in epoch {epoch + 1} of phase {phase.name}; "
                    f"try a smaller --learning_rate than {phase.learning_rate:g}"
                )
            val = predict_split(self._evaluator, self.sources["val"], "val", show_progress=False)
            # Weighed as the training loss is, so that the best model is the best at what it is trained for.
            numbers = metrics.monitored(val.labels, val.probabilities, val.loss(self._class_weights))
            row = {**logs, **{f"val_{name}": value for name, value in numbers.items()}}
            bar.set_postfix_str(", ".join(f"{name} {value:.3f}" for name, value in row.items() if value is not None))
        return row

    def _make_loop(self, phase: Phase, index: int) -> Loop:
        config = self.config
        with self.strategy.scope():
            freeze(self.model, phase)
            optimizer = make_optimizer(phase)
        return Loop(
            self.model,
            optimizer=optimizer,
            strategy=self.strategy,
            batch_size=config.batch_size,
            class_weights=self._class_weights,
            augment=partial(random_affine, config=config) if config.augment else None,
            seed=config.seed + 104729 * index,
        )

    def _make_callbacks(self) -> keras.callbacks.CallbackList:
        schedule = keras.callbacks.ReduceLROnPlateau(
            monitor="val_accuracy", mode="max", factor=0.2, patience=self.config.plateau_patience, min_lr=1e-6
        )
        logs = keras.callbacks.TensorBoard(str(self.folder.tensorboard), write_graph=False)
        return keras.callbacks.CallbackList([schedule, logs], model=self.model)

    def _save_model(self) -> None:
        temporary = self.folder.path / f".{os.getpid()}.keras"
        self.model.save(temporary)
        os.replace(temporary, self.folder.model)

    def _describe(self) -> dict[str, Any]:
        """`model.json`: what is needed to use `model.keras`, and how it came about."""
        lines: list[str] = []
        self.model.summary(line_length=100, print_fn=lines.append)
        gpus = tf.config.list_physical_devices("GPU")
        return {
            "arch": self.config.arch,
            "image_size": self.config.image_size,
            "equalization": self.manifest.options["equalization"],
            "class_names": list(self.manifest.class_names),
            "dataset_fingerprint": self.manifest.fingerprint,
            "phases": self._phases,
            "best": self._best,
            **self.operating_point.to_json(),
            "summary": "\n".join(lines),
            "software": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("cxrflow", "tensorflow", "keras", "numpy", "scikit-learn")},
            },
            "num_replicas": self.strategy.num_replicas_in_sync,
            "device": tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU",
        }
