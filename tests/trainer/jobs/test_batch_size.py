"""The batch size where no number is given: the default that suits the replicas, and the batch that fits a device."""

import json
import logging
from collections.abc import Iterator

import pytest
import tensorflow as tf

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.device import Computation, NotCompiledError
from trainer.jobs.batch_size import (
    batch_fits,
    best_size,
    keep_batch_size,
    measure_in_child,
    measure_rates,
    settle_batch_size,
)
from trainer.jobs.train import train
from trainer.training.tf_errors import translate_errors
from trainer.training.train_step import Sums, TrainStep


def config(**flags):
    return TrainConfig(**{"data": "d", "output": "o", "image_size": 32, **flags})


@pytest.mark.parametrize(
    ("flags", "size", "said"),
    [
        ({}, 18, ""),
        ({"num_replicas": 2}, 18, ""),
        ({"num_replicas": 4}, 20, "--batch_size: 18 raised to 20, the next multiple of 4 replicas"),
        ({"batch_size": "auto"}, 18, ""),
        ({"batch_size": "auto", "num_replicas": 4}, 20, "18 raised to 20"),
        ({"batch_size": 8, "num_replicas": 4}, 8, ""),
    ],
)
def test_without_a_number_the_batch_is_18_or_the_next_multiple_of_the_replicas(dataset, caplog, flags, size, said):
    with caplog.at_level(logging.WARNING):
        assert settle_batch_size(config(**flags), None, Manifest.read(str(dataset))).batch_size == size
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_a_raised_batch_with_too_few_images_is_refused(dataset):
    with pytest.raises(UsageError, match="--batch_size is 60, more than the 53 training images"):
        settle_batch_size(config(num_replicas=60), None, Manifest.read(str(dataset)))


def test_auto_is_refused_for_several_workers():
    config(batch_size="auto").check_workers(1)
    with pytest.raises(UsageError, match="auto measures one machine, 2 workers train together; give a number"):
        config(batch_size="auto").check_workers(2)


def test_a_default_batch_suits_the_replicas_of_all_workers(dataset):
    cluster = Cluster(workers=("a:1", "b:1", "c:1", "d:1"), index=0)
    assert settle_batch_size(config(), cluster, Manifest.read(str(dataset))).batch_size == 20


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ({8: 100.0}, 8),
        ({8: 100.0, 16: 190.0, 32: 300.0}, 32),
        ({8: 100.0, 16: 190.0, 32: 200.0}, 16),
        ({8: 100.0, 16: 105.0, 32: 300.0}, 8),
    ],
)
def test_a_batch_is_doubled_while_that_gains_a_tenth(rates, size):
    assert best_size(rates) == size


def test_a_resumed_run_keeps_its_batch_size_unless_another_is_given(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "job.json").write_text(
        json.dumps({"flags": {"batch_size": 40}, "dataset_fingerprint": "0" * 64})
    )
    here = {"output": str(tmp_path)}
    sizes = [keep_batch_size(config(**here, **flags)).batch_size for flags in ({}, {"batch_size": "auto"})]
    assert sizes == [40, 40]
    assert keep_batch_size(config(**here, batch_size=8)).batch_size == 8
    assert keep_batch_size(config(**here, overwrite=True)).batch_size is None


def test_no_batch_is_measured_that_leaves_an_epoch_fewer_than_32_steps(monkeypatch):
    monkeypatch.setattr("trainer.jobs.batch_size.MIN_GAIN", 0.0)  # as if every batch were faster
    rates = dict(measure_rates(config(), 16 * 32))
    assert list(rates) == [8, 16]
    assert all(rate > 0 for rate in rates.values())


def test_a_network_that_can_not_be_trained_at_all_has_its_reason(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/ls")  # a child that fails, and says why
    with pytest.raises(UsageError, match=r"not even 8 images could be trained on \(.*ls.*\); give a number"):
        measure_in_child(config(), 8 * 32)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, {"batch_size": "auto", "num_replicas": 4}])
def test_batches_of_one_device_are_measured_in_a_process_of_their_own(flags):
    assert list(measure_in_child(config(**flags), 8 * 32)) == [8]


def test_batches_are_measured_and_fit_without_xla_where_it_can_not_compile_and_need_not(monkeypatch):
    run = TrainStep.run

    def run_plain(step: TrainStep, batches: Iterator, num_steps: int) -> Sums:
        if step.is_to_be_compiled:
            raise NotCompiledError("Couldn't find ptxas")
        return run(step, batches, num_steps)

    monkeypatch.setattr(TrainStep, "run", run_plain)
    monkeypatch.setattr(Computation, "of", lambda config: Computation("float32", jit_compile=True, device="CPU"))
    assert list(dict(measure_rates(config(), 8 * 32))) == [8]
    assert batch_fits(config(), 4)
    assert not batch_fits(config(jit_compile="on"), 4)


def test_after_memory_ran_out_a_batch_is_named_that_fits():
    tried = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= 12

    said = "try --batch_size 12, which fits, or a smaller --image_size"
    with pytest.raises(RunError, match=said), translate_errors(48, 4, None, fits):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")
    assert tried == [24, 12]


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "no memory"),
        tf.errors.InternalError(None, None, "Failed to create cublas handle: the resource allocation failed"),
    ],
)
def test_a_batch_fits_if_its_step_finds_memory(monkeypatch, error):
    assert batch_fits(config(num_replicas=2), 4)

    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr("trainer.models.build", exhausted)
    assert not batch_fits(config(num_replicas=2), 4)


@pytest.mark.parametrize("flags", [{"batch_size": 32}, {"batch_size": 20, "num_replicas": 2, "mixup_alpha": 0.2}])
def test_a_training_without_memory_ends_with_a_batch_that_can_be_trained_on(dataset, tmp_path, monkeypatch, flags):
    run = TrainStep.run

    def run_small(step: TrainStep, batches: Iterator, num_steps: int) -> Sums:
        if step._config.global_batch_size > 8:
            raise tf.errors.InternalError(
                None, None, "Failed to load a module: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
            )
        return run(step, batches, num_steps)

    monkeypatch.setattr(TrainStep, "run", run_small)
    flags = {"data": str(dataset), "output": str(tmp_path / "run"), "epochs": 1, **flags}
    said = r"CUDA_ERROR_OUT_OF_MEMORY.*; try --batch_size 8, which fits, or a smaller --image_size, with --overwrite"
    with pytest.raises(RunError, match=said):
        train(config(**flags))
