"""Reads shards with `tf.data`, in batches that are parsed as a whole; the order depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from beam_prep.console.background import usable_cores
from beam_prep.dataset import schema
from trainer.data.folds import RecordIndex
from trainer.data.held_images import DeviceRows, HeldImages, positions_in_order, ragged, shuffle_by_tensor
from trainer.data.parsing import label_features, parse_batch, parse_labels
from trainer.data.read_errors import readable_records
from trainer.data.shard_records import record_reader
from trainer.data.splits import SplitSource

READERS = 4  # number of shards that are read in turns
BLOCK = 16  # number of records that are read from a shard in its turn
PARALLEL_READS = 2  # number of shards that are read ahead, which does not change the order
PARSERS = min(usable_cores(), 16)  # number of batches that are parsed at once
AHEAD = 4  # number of batches that are ready before they are needed
DRAWN_AHEAD = 64  # the same where the devices hold the images: two programs of XLA take that many at once
POSITIONS_AHEAD = 1024  # the same where a batch is no more than positions: all of the next epoch of most data sets
INDEX_BATCH = 256  # number of records that are parsed at once if no pixels are needed
SHUFFLE_BYTES = 128 * 2**20  # bound of the shuffle buffer; a larger one costs more in fresh memory than in reading


@tf.autograph.experimental.do_not_convert  # rewriting what `map` calls takes a second or more of each process
def training_batches(
    source: SplitSource,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    worker: int = 0,
    num_workers: int = 1,
    shard_files: bool = False,
    deterministic: bool = True,
    held: HeldImages | None = None,
    num_epochs: int = 1,
    draws: Callable[[int], np.ndarray] | None = None,
    shares: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Returns the batches of an epoch in the order of this epoch; records that fill no batch are dropped.

    Its iterator begins to read when it is made, before the first batch is asked for.

    Args:
        source: records to read.
        batch_size: global batch size N, a multiple of the number of workers.
        seed: seed that decides the order, together with the epoch.
        epoch: number of the epoch, from 0.
        first_step: number of global batches to leave out at the start, as they were trained on before a stop.
        worker: number of this worker, from 0.
        num_workers: number of workers; each gets its slice of each global batch.
        shard_files: True if each worker reads files of its own instead: other files in each epoch, or those that the
            source keeps. The global batches then differ from those of one worker.
        deterministic: False if the records may come in the order in which they happen to be read.
        held: the images of the split, which are then not read; the batches are the same.
        num_epochs: number of epochs that follow each other; more than one needs `held`.
        draws: returns how often each record is read in an epoch, int64 [num_records]; once if not given.
        shares: the rows of a global batch (with `shard_files`, of the worker's part of one) that each replica takes,
            int [replicas, N / replicas]; consecutive rows if not given.

    Returns:
        For each epoch, `SplitSource.steps_per_epoch` elements, in the first `first_step` less: images uint8
        [n, S, S, 1], or their positions in the split int64 [n] if the devices hold them, and the labels of
        `parse_labels`, int64 [n, …]; n = N / workers.
    """
    slices = 1 if shard_files else num_workers  # a global batch is made of this many consecutive elements
    num_steps = source.steps_per_epoch(batch_size, num_workers, shard_files=shard_files)
    buffer = max(min(source.num_records, SHUFFLE_BYTES // source.image_size**2), 1)

    def order_of(epoch: int) -> tuple[np.ndarray, int]:
        """Returns the shards in the order of an epoch, and the seed of the shuffle buffer."""
        rng = np.random.default_rng((seed, epoch))
        shards = rng.permutation(len(source.paths))
        if shard_files:
            dealt = source.shards_of_worker(shards.tolist(), worker, num_workers)
            shards = np.array(dealt, int) if source.kept is None else shards[np.isin(shards, source.kept)]
        return shards, int(rng.integers(2**62))

    def batches_of(shuffled: tf.data.Dataset, first: int | tf.Tensor) -> tf.data.Dataset:
        if shares is not None:
            whole = shuffled.batch(shares.size, drop_remainder=True).take(num_steps).skip(first)
            return whole.map(lambda batch: tf.gather(batch, np.split(shares.ravel(), slices)[worker % slices]))
        batches = shuffled.batch(batch_size // num_workers, drop_remainder=True)
        return batches.take(num_steps * slices).skip(first * slices).shard(slices, worker % slices)

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return parse_batch(serialized, source)[:2]

    if held is None:
        shards, shuffle_seed = order_of(epoch)
        records = _read(source, shards, deterministic, draws and draws(epoch))
        mine = batches_of(records.shuffle(buffer, shuffle_seed, reshuffle_each_iteration=False), first_step)
    else:
        numbers = range(epoch, epoch + num_epochs)
        orders, seeds = zip(*map(order_of, numbers), strict=True)
        rows = positions_in_order(
            source, orders, draws and [draws(number) for number in numbers], readers=READERS, block=BLOCK
        )
        seed_pairs = tf.constant([tf.compat.v1.get_seed(shuffle_seed) for shuffle_seed in seeds], tf.int64)
        first_steps = tf.constant([first_step] + [0] * (num_epochs - 1), tf.int64)

        def positions_of(index: tf.Tensor) -> tf.data.Dataset:
            shuffled = shuffle_by_tensor(rows(index), buffer, seed_pairs[index])
            return batches_of(shuffled, first_steps[index])

        mine = tf.data.Dataset.range(num_epochs).flat_map(positions_of).prefetch(POSITIONS_AHEAD)
    batches = mine.map(held.draw if held else parse, num_parallel_calls=PARSERS, deterministic=deterministic)
    return started_early(untuned(batches.prefetch(DRAWN_AHEAD if held and held.rows else AHEAD)))


def hold(source: SplitSource, strategy: tf.distribute.Strategy | None = None) -> HeldImages:
    """Reads and decodes a split and holds it in memory, or on every device of a strategy; one image takes S * S bytes.

    Raises:
        RunError: the records can't be read.
    """
    images = np.empty((source.num_records, source.image_size, source.image_size, 1), np.uint8)
    labels = np.empty([source.num_records, *source.label_shape], np.int64)
    start = 0
    with readable_records(source):
        for batch in evaluation_batches(source, batch_size=INDEX_BATCH).as_numpy_iterator():
            end = start + len(batch["labels"])
            images[start:end], labels[start:end] = batch["images"], batch["labels"]
            start = end
    with tf.device("/CPU:0"):
        kept = tf.convert_to_tensor(labels)
        if strategy is None:
            return HeldImages(kept, images=tf.convert_to_tensor(images))
    return HeldImages(kept, rows=DeviceRows(images, strategy))


@tf.autograph.experimental.do_not_convert
def evaluation_batches(source: SplitSource, *, batch_size: int) -> tf.data.Dataset:
    """Returns batches of every record once, in the order of the manifest; the last batch may be smaller.

    Returns:
        Elements {"images": uint8 [N, S, S, 1], "labels": those of `parse_labels`, "filenames": string [N], "groups":
        string [N], "source_pixels": int64 [N], pixels of the image before the resize; 0 in old records, which do not
        have it}, and the traits of `schema.TRAITS`, string [N], each by its name; empty where they are not known.
    """
    text, side = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64, default_value=0)
    wanted = {
        schema.FILENAME: text,
        schema.GROUP: text,
        schema.SOURCE_HEIGHT: side,
        schema.SOURCE_WIDTH: side,
        **{feature: tf.io.FixedLenFeature([], tf.string, default_value="") for feature in schema.TRAITS.values()},
    }

    def parse(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        images, labels, more = parse_batch(batch, source, wanted)
        return {
            "images": images,
            "labels": labels,
            "filenames": more[schema.FILENAME],
            "groups": more[schema.GROUP],
            "source_pixels": more[schema.SOURCE_HEIGHT] * more[schema.SOURCE_WIDTH],
            **{trait: more[feature] for trait, feature in schema.TRAITS.items()},
        }

    return untuned(_records(source).batch(batch_size).map(parse, num_parallel_calls=PARSERS).prefetch(1))


@tf.autograph.experimental.do_not_convert
def read_index(source: SplitSource) -> RecordIndex:
    """Reads labels, groups, file names, domains and content hashes of all records, without decoding an image.

    Raises:
        RunError: the records can't be read.
    """
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    texts = dict.fromkeys((schema.GROUP, schema.FILENAME, schema.DOMAIN, schema.SOURCE_ID), text)
    texts[schema.FILENAME] = tf.io.FixedLenFeature([], tf.string)

    def parse(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        features = tf.io.parse_example(batch, {**label_features(source), **texts})
        return parse_labels(features, source), *(features[name] for name in texts)

    columns: list[list[Any]] = [[] for _ in range(1 + len(texts))]
    with readable_records(source):
        for batch in _records(source).batch(INDEX_BATCH).map(parse).as_numpy_iterator():
            for column, values in zip(columns, batch, strict=True):
                column += values.tolist()
    return RecordIndex(columns[0], *([each.decode() for each in column] for column in columns[1:]))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches the thread off by which tf.data tunes a dataset; no number in the dataset may be `AUTOTUNE`.

    Why: the thread sleeps 10, 20, 40, … ms up to a minute, and who drops the iterator waits for it
    (`RootDataset::Iterator::~Iterator`, seen in TensorFlow 2.21 with gdb). At the end of an epoch the device would have
    nothing to do for as long as the epoch took, at worst. What the thread would tune is given as constants above.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def started_early(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Lets the iterators of a dataset fill their buffers from when they are made, not from the first element on."""
    options = tf.data.Options()
    options.experimental_warm_start = True
    return dataset.with_options(options)


def _records(source: SplitSource) -> tf.data.Dataset:
    """Returns the records of a source in the order of the manifest, string []."""
    records, counts = record_reader(source.paths)(source.paths), _counts(source)
    return records if counts is None else _repeated(records, np.concatenate(counts))


def _read(
    source: SplitSource, shards: np.ndarray, deterministic: bool, draws: np.ndarray | None = None
) -> tf.data.Dataset:
    """Returns the records of some shards, string []."""
    counts = _counts(source, draws)
    records_of = record_reader(source.paths)
    columns: tuple = ([source.paths[shard] for shard in shards],)
    if counts is not None:
        columns += (ragged([counts[shard] for shard in shards]),)

    def read(path: tf.Tensor, *counts: tf.Tensor) -> tf.data.Dataset:
        records = records_of(path)
        return _repeated(records, *counts) if counts else records

    return tf.data.Dataset.from_tensor_slices(columns).interleave(
        read,
        cycle_length=READERS,
        block_length=BLOCK,
        num_parallel_calls=PARALLEL_READS if deterministic else READERS,
        deterministic=deterministic,
    )


def _counts(source: SplitSource, draws: np.ndarray | None = None) -> list[np.ndarray] | None:
    """Returns, for each shard, how often each stored record is read; None if all records are read once."""
    if source.selected is None and draws is None:
        return None
    each = np.ones(source.num_records, np.int64) if draws is None else draws
    by_shard = np.split(each, np.cumsum(source.shard_records)[:-1])
    if source.selected is None:
        return by_shard
    counts = [np.asarray(chosen, np.int64) for chosen in source.selected]
    for stored, read in zip(counts, by_shard, strict=True):
        stored[stored > 0] = read
    return counts


def _repeated(elements: tf.data.Dataset, counts: tf.Tensor | np.ndarray) -> tf.data.Dataset:
    """Repeats each element as often as `counts`, int64 [N], says; 0 leaves it out."""
    pairs = tf.data.Dataset.zip((elements, tf.data.Dataset.from_tensor_slices(counts)))
    return pairs.batch(BLOCK).map(tf.repeat).unbatch()
