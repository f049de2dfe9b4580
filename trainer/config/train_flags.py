"""Defines the flags of `train`: their types, defaults, units and help. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arch = Literal["baseline_cnn", "se_resnet", "vgg19", "inception_resnet_v2"]


@dataclass(frozen=True)
class TrainFlags:
    """The flags of `train` as a command line gives them; `TrainConfig` checks that they go together."""

    data: str
    """Dataset folder, as `beam_prep prepare` wrote it; this and all other paths may be gs://BUCKET/NAME, this one also
    s3://BUCKET/NAME or az://ACCOUNT/CONTAINER/NAME (with the extra tfio)."""
    output: str
    """Folder for the run; it must be empty or absent, see --overwrite."""
    config: str | None = None
    """JSON file with flags, such as the config.json of a run; flags on the command line win."""
    preset: str | None = None
    """Recipe by its name, see `trainer presets`; flags of --config win, and those on the command line over both."""
    arch: Arch = "baseline_cnn"
    """Network."""
    image_size: int = 90
    """Which of the dataset's image sizes, px."""
    batch_size: int = 18
    """Global batch: images a step over all replicas; the replicas must divide it."""
    epochs: int = 17
    """Epochs of the first phase (the head, for a network with pretrained weights)."""
    fine_tune_epochs: int = 17
    """Epochs of fine-tuning (vgg19, inception_resnet_v2); 0 leaves it out."""
    unfreeze_layers: int = 10
    """How many of the last layers of the pretrained network are trained in fine-tuning."""
    weights: str = "imagenet"
    """Of vgg19 and inception_resnet_v2: imagenet (downloaded by Keras), none, or the path of a weights file (.h5)."""
    learning_rate: float | None = None
    """Of the first phase; 1e-3 (baseline_cnn, se_resnet) or 5e-5 if not given."""
    fine_tune_learning_rate: float = 2e-6
    """Of fine-tuning (Adam)."""
    dropout: float | None = None
    """One rate for all dropout layers, 0 to less than 1; else 0.2 and 0.5 (baseline_cnn), 0.2 (se_resnet), 0.1."""
    early_stopping_patience: int = 0
    """Epochs without lower validation loss after which a phase ends; 0: it runs to its last epoch."""
    optimizer: Literal["auto", "rmsprop", "adam", "sgd"] = "auto"
    """auto: rmsprop (baseline_cnn), else adam. sgd has a Nesterov momentum of 0.9."""
    weight_decay: float = 0.0
    """Decoupled, a share of the learning rate in each step: adam with it is AdamW. Not of biases, nor normalization."""
    clip_norm: float | None = None
    """Bound of the norm of all gradients together, of the global batch; none if not given."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """Learning rate of a phase. plateau: see --plateau_patience; cosine: from the learning rate to 0, step by step."""
    warmup_epochs: float = 0.0
    """With --schedule cosine: epochs in which the learning rate rises from 0."""
    plateau_patience: int = 2
    """Epochs without better validation accuracy before the learning rate is cut to a fifth (to 1e-6 at least)."""
    label_smoothing: float = 0.0
    """What the targets 0 and 1 are short of each other, 0 to less than 1."""
    ema_decay: float = 0.0
    """Evaluate and keep a moving average of the weights: what stays of it in each step, such as 0.999; 0: off."""
    mixup_alpha: float = 0.0
    """Mix each image with another one, by shares from Beta(alpha, alpha), such as 0.2; 0: off."""
    cutout: float = 0.0
    """Grey out a square of each image: its side, as a share of the image's; 0: off."""
    augment: bool = True
    """Random rotation, zoom, shift and flip of the training images, on the device."""
    rotation_degrees: float = 10.0
    """Largest rotation either way."""
    zoom: float = 0.1
    """Zoom factor from 1 - zoom to 1 + zoom, in each direction on its own."""
    shift: float = 0.05
    """Largest shift either way, as a share of the side."""
    horizontal_flip: bool = True
    """Mirror half of the images."""
    class_weights: bool = True
    """Weigh the classes against each other as the manifest says: n / (2 n_class)."""
    sampler: Literal["natural", "balanced"] = "natural"
    """natural: each image once in an epoch. balanced: as many draws, half of them of each class, so that images of the
    rarer one come several times; the loss in training then has no class weights, whatever --class_weights says."""
    strategy: Literal["auto", "none", "mirrored", "multiworker"] = "auto"
    """tf.distribute: mirrored over the replicas, multiworker over the machines of TF_CONFIG, none (one device), or
    auto: multiworker if TF_CONFIG names several workers, else mirrored if there are several replicas."""
    num_replicas: int = 0
    """Replicas of each machine; 0 is all GPUs, or one on the CPU. On the CPU of one machine, more give as many logical
    devices."""
    steps_per_call: int = 8
    """Training steps in one call of the compiled function; does not change the result."""
    jit_compile: bool = False
    """Compile the step with XLA (augmentation stays outside). Other dropout masks; far slower on a CPU."""
    mixed_precision: bool = False
    """Compute in bfloat16, for hardware that has it; weights, logits, loss and metrics stay float32."""
    cache: Literal["none", "ram", "disk"] = "none"
    """Where images are kept between epochs: ram holds the training images decoded, disk holds copies of the shards, for
    datasets on slow storage. Does not change the result."""
    cache_dir: str | None = None
    """Folder of --cache disk, kept for the next run; ~/.cache/cxrflow if not given."""
    stage_dir: str | None = None
    """Folder of this machine that the shards are downloaded to before the training, and kept in for the next; without,
    TensorFlow streams gs:// itself. With --shard_files, each worker gets its share and keeps it in all epochs."""
    stage_max_bytes: int = 0
    """Most that may be in --stage_dir; shards beyond it are streamed. 0: as much as there is room for."""
    shard_files: bool = False
    """With several workers: each reads files of its own, not its slice of each global batch. Less to read, but then the
    batches depend on the number of workers."""
    deterministic: bool = True
    """The order of the images is a function of the seed; off, they come as they are read."""
    skip_corrupt: int = 0
    """How many corrupt records are left out, over all splits; they are looked for before the training starts."""
    threshold_rule: str = "0.5"
    """From which probability an image is called PNEUMONIA, chosen on validation and kept for every other split: youden,
    sensitivity=X, specificity=X (at least X of 1), or the probability itself."""
    prevalence: float | None = None
    """Share of PNEUMONIA among the patients to come, 0 to 1: PPV and NPV are stated for it too."""
    train_on_val: bool = False
    """Train on the validation images too, as the last step before use: all epochs are run, the last weights kept, and
    the learning rate follows the accuracy in training. --threshold_rule has to be a probability (of a run that did
    validate), and the probabilities are not calibrated."""
    fold: str | None = None
    """k/K with k from 1 to K, such as 1/5, for cross-validation by patient: the images of train and validation are
    divided anew into K folds, by a hash of the patient; fold k is validated on, the others are trained on."""
    evaluate_test: bool = True
    """Evaluate on the test images at the end. Off, none is read: who compares runs to choose one must not see them."""
    seed: int = 0
    """Of the initial weights, the order of the images, augmentation and dropout."""
    checkpoint_every_steps: int = 0
    """Save so often that a kill costs no more steps than this; 0: by time, every 30 s or less often, so that saving
    takes under 2 % of it. The same command on the same output folder goes on from the last checkpoint."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """If the loss becomes NaN or infinite: stop, or go back to the last checkpoint with half the learning rate, three
    times at most."""
    keep_checkpoint: bool = False
    """Keep the last checkpoint of the finished run in its folder last/, for --continue_from."""
    continue_from: str | None = None
    """Finished run of the same flags, fewer epochs and --keep_checkpoint: go on where it ended. Does not change the
    result."""
    overwrite: bool = False
    """Replace the run that is in the output folder, finished or not."""
