"""Defines the flags of `train`: their types, defaults, units and help. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beam_prep.console.command import FlagGroups
from beam_prep.console.errors import UsageError
from trainer.config.threshold_rule import DEFAULT_RULE

Arch = Literal["baseline_cnn", "se_resnet", "se_resnet_small", "vgg19", "inception_resnet_v2"]
"""The name of a network."""

SelectBy = Literal["val_loss", "val_accuracy", "val_auroc", "external_auroc"]
"""The metric of an epoch that chooses the weights which a training keeps."""

DEFAULT_BATCH_SIZE = 18
"""The global batch size of the study."""


@dataclass(frozen=True)
class TrainFlags:
    """The flags of `train` as a command line gives them; `TrainConfig` checks that they go together."""

    data: str
    """Dataset folder that `beam_prep prepare` wrote. All paths may be gs://BUCKET/NAME; this one may also be
    s3://BUCKET/NAME or az://ACCOUNT/CONTAINER/NAME (with the extra tfio)."""
    output: str
    """Folder for the run; it must be empty or absent, see --overwrite."""
    config: str | None = None
    """JSON or YAML file (.yaml, .yml) with flags, such as the config.json of a run; flags on the command line win."""
    preset: str | None = None
    """Recipe by its name, see `trainer presets`; flags of --config and of the command line win over it."""
    arch: Arch = "baseline_cnn"
    """Network to train."""
    image_size: int = 90
    """Side of the images, px; one of the dataset's image sizes."""
    batch_size: int | Literal["auto"] | None = None
    """Global batch size: the images in a step over all replicas, which share them equally. The learning rate belongs to
    the global batch and does not change with the number of replicas. If not given, 18, raised to the next multiple of
    the replicas (with --mixup_alpha, of twice as many); a number that the replicas do not divide is refused. auto: on
    GPUs, the fastest batch that fits the memory, at most a 32nd of the training images; else 18. A resumed run keeps
    its batch size."""
    epochs: int = 17
    """Epochs of the first phase; a network with pretrained weights trains its new head in it."""
    fine_tune_epochs: int = 17
    """Epochs of fine-tuning (vgg19, inception_resnet_v2); 0 switches fine-tuning off."""
    unfreeze_layers: int = 10
    """Number of layers that fine-tuning trains, counted from the end of the pretrained network."""
    weights: str = "imagenet"
    """Weights of vgg19 and inception_resnet_v2: imagenet (downloaded by Keras), none, or the path of a .h5 file."""
    learning_rate: float | None = None
    """Learning rate of the first phase; if not given, 1e-3 (networks without pretrained weights) or 5e-5."""
    fine_tune_learning_rate: float = 2e-6
    """Learning rate of fine-tuning."""
    dropout: float | None = None
    """Rate of all dropout layers, 0 to less than 1; else 0.2 and 0.5 (baseline_cnn), 0.2 (se_resnet
    and se_resnet_small) or 0.1."""
    external: tuple[str, ...] = ()
    """Dataset folders of other sources, prepared with the same options. They are never trained on: after each epoch the
    model is measured on all their images, and the report shows how well it does there. A set that shares images or
    patients with train or validation is refused."""
    select_by: SelectBy = "val_loss"
    """Metric whose best epoch is kept, and which --early_stopping_patience follows. val_accuracy: the accuracy on
    validation, at a threshold of 0.5 or of the most probable class (not for findings). val_auroc: the AUROC on
    validation, of several classes or findings the mean of all. external_auroc: that on the first set of --external,
    which then counts as a development set, as it has chosen the epoch."""
    early_stopping_patience: int = 0
    """Epochs without a better --select_by (by default a lower validation loss) after which a phase ends; 0: all epochs
    are run."""
    optimizer: Literal["auto", "rmsprop", "adam", "sgd"] = "auto"
    """Optimizer of all phases. auto: rmsprop (baseline_cnn), else adam; sgd has a Nesterov momentum of 0.9."""
    weight_decay: float = 0.0
    """Decoupled weight decay (with adam: AdamW), a share of the learning rate; not of biases and normalization."""
    clip_norm: float | None = None
    """Upper bound of the global norm of the gradients of a batch; if not given, gradients are not clipped."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """Learning rate schedule of a phase. plateau: see --plateau_patience; cosine: falls to 0 with each step."""
    warmup_epochs: float = 0.0
    """Epochs in which the learning rate rises from 0, with --schedule cosine."""
    plateau_patience: int = 2
    """Epochs without a better validation accuracy (for findings, a lower validation loss) before the learning rate is
    cut to a fifth (to 1e-6 at least)."""
    label_smoothing: float = 0.0
    """Label smoothing s, 0 to less than 1: the targets 0 and 1 become s / 2 and 1 - s / 2; of K classes, of which one
    is true, s / K and 1 - s + s / K."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, such as 0.999, which is evaluated and kept; 0: no average."""
    mixup_alpha: float = 0.0
    """Alpha of mixup, such as 0.2: each image is mixed with another one of the batch, of whatever class and domain,
    by shares from Beta(alpha, alpha); 0: off. A finding of a mixture is known if it is known of both images."""
    cutout: float = 0.0
    """Side of the square that cutout greys out in each image, as a share of the image's side; 0: off."""
    augment: bool = True
    """Augment the training images on the device: random rotation, zoom, shift and flip, and the changes of the flags
    below up to --jpeg_quality where they are asked for."""
    rotation_degrees: float = 30.0
    """Largest random rotation in either direction, degrees."""
    zoom: float = 0.2
    """Largest random zoom z: height and width are each scaled by a factor of their own from 1 - z to 1 + z, so that
    crops and the aspect ratio vary, too."""
    shift: float = 0.1
    """Largest random shift in either direction, as a share of the image's side."""
    horizontal_flip: bool = True
    """Mirror half of the training images."""
    gamma: float = 0.0
    """Largest random gamma g: grey values from 0 to 1 are raised to a power from 1 / (1 + g) to 1 + g; 0: off."""
    contrast: float = 0.0
    """Largest random contrast c: the distances of grey values from the middle grey are multiplied by a factor from
    1 / (1 + c) to 1 + c; 0: off."""
    brightness: float = 0.0
    """Largest random brightness in either direction, as a share of the range from black to white; 0: off."""
    sharpness: float = 0.0
    """Largest random sharpness s: from -s to s times the difference between an image and its blurred version (3 x 3 px)
    is added, so that 1 goes as far as the blurred image; 0: off."""
    local_contrast: float = 0.0
    """Largest random share, up to 1, of the image equalized by region (much as --equalization clahe of `prepare` does)
    that replaces the image; 0: off."""
    border: float = 0.0
    """Largest random width of a black bar at each side, as a share of the image's side; 0: off."""
    downsample: float = 0.0
    """Largest random coarseness d: images are shrunk by a factor from 1 to 1 + d, and enlarged again; 0: off."""
    noise: float = 0.0
    """Largest standard deviation of random noise, as a share of the range from black to white; 0: off."""
    jpeg_quality: int = 0
    """Lowest quality of a random compression as JPEG, 1 to 100, each image having one from it to 100; 0: off."""
    class_weights: bool = True
    """Weight the K classes in the loss by n / (K n_class), from the counts in the manifest; of each finding, weight the
    images where it is present and those where it is absent by n_known / (2 n_present) and n_known / (2 n_absent)."""
    sampler: Literal["natural", "balanced"] = "natural"
    """Sampling of training images. natural: every image once in an epoch; balanced: as many draws, equally many from
    each class; of findings equally many from the images whose rarest present finding each of them is, and from those
    without a present finding. With balanced, the training loss has no class weights, whatever --class_weights says."""
    strategy: Literal["auto", "none", "mirrored", "multiworker"] = "auto"
    """tf.distribute strategy: mirrored (the replicas of this machine), multiworker (the machines of TF_CONFIG), none
    (one device), or auto: multiworker if TF_CONFIG names several workers, else mirrored for several replicas."""
    num_replicas: int = 0
    """Replicas on each machine; 0: all GPUs, or one on the CPU. More than one on the CPU are logical devices of one
    machine."""
    steps_per_call: int = 0
    """Training steps in one call of the compiled function; 0: 32 on GPUs, 8 on a CPU. Does not change the result."""
    jit_compile: Literal["auto", "on", "off"] = "auto"
    """Compile the training steps with XLA, augmentation included: on, off, or auto (on for GPUs, off for a CPU, which
    it makes slower). The flag alone means on. Dropout draws other masks, rounding differs."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type that the layers compute in. auto: bfloat16 on GPUs of compute capability 8.0 and above, else float32.
    Weights, logits, loss and metrics are float32 in any case."""
    mixed_precision: bool = False
    """Compute in bfloat16: another spelling of --precision bfloat16."""
    cache: Literal["auto", "device", "ram", "disk", "none"] = "auto"
    """Place where the training keeps images between epochs. device: memory of the GPU, which draws its batches there,
    or without a GPU memory; refused if the images take more than a quarter of it (without a GPU, or more than 1 GiB);
    auto: device where they fit, else none; ram: decoded in memory; disk: copies of the shards, for datasets on slow
    storage; none: every epoch reads them. Does not change the result."""
    feature_cache: Literal["auto", "on", "off"] = "auto"
    """Feature cache of vgg19 and inception_resnet_v2: on runs the frozen network once over the images, and the new head
    trains on its features, without augmentation, cutout and mixup; auto does so if none of these is wanted. The flag
    alone means on."""
    cache_dir: str | None = None
    """Folder of --cache disk, kept for the next run; ~/.cache/cxrflow if not given."""
    stage_dir: str | None = None
    """Folder on this machine that shards are downloaded to before the training and kept in; if not given, they
    are streamed. With --shard_files, each worker downloads its share and keeps it in all epochs."""
    stage_max_bytes: int = 0
    """Largest size of --stage_dir, bytes; shards beyond it are streamed. 0: no limit but the disk."""
    shard_files: bool = False
    """Let each of several workers read files of its own instead of its slice of each global batch. A worker reads
    less, but the batches depend on the number of workers."""
    deterministic: bool = True
    """Make the order of the images a function of the seed, and take deterministic kernels only on GPUs; off, images
    come in the order in which they are read, and XLA times its kernels."""
    skip_corrupt: int = 0
    """Largest number of corrupt records, over all splits, that are left out before the training starts."""
    threshold_rule: str = DEFAULT_RULE
    """Rule for the probability from which an image is called positive (PNEUMONIA): youden, sensitivity=X or
    specificity=X (at least X of 1), sensitivity=X@C or specificity=X@C (the lower bound of the rate, with confidence C,
    is X), chosen on validation and kept for every other split, or the probability itself. Each finding gets a threshold
    of its own by the rule; of three or more classes, the most probable one is called, so that there is no rule."""
    tta: bool = False
    """Use the trained network on each image and its mirror image, and average the probabilities (test-time
    augmentation): for threshold and temperature, in every evaluation, and in `predict` and `export`. Training and the
    numbers of each epoch stay the same; a prediction takes twice the time."""
    prevalence: float | None = None
    """Share of the positive class (PNEUMONIA) among future patients, 0 to 1: PPV and NPV are stated for it too; for
    datasets of two classes."""
    train_on_val: bool = False
    """Train on the validation images too, as the last step before use: all epochs are run, the last weights are kept,
    and the learning rate follows the training accuracy. --threshold_rule must be a probability (from a run with
    validation), and the probabilities are not calibrated."""
    fold: str | None = None
    """Fold k/K of a cross-validation by patient, such as 1/5, with k from 1 to K. The images of train and validation
    are divided into K folds by a hash of the patient, with more classes than two or findings so that each fold holds
    them in proportion; fold k is validated on, the others are trained on. domain=k/K divides the domains of the dataset
    (hospitals, scanners, years), so that domains are validated on that were not trained on; a patient with images on
    both sides is not trained on."""
    holdout_domain: str | None = None
    """Domain to hold out: its images, whatever their split, become the test split, and the images of all other domains
    in train and val are trained and validated on; patients who also have images of that domain are left out."""
    evaluate_test: bool = True
    """Evaluate on the test images at the end. Off, no test image is read: who chooses among runs must not see them."""
    seed: int = 0
    """Seed of the initial weights, of the order of the images, of augmentation and of dropout."""
    checkpoint_every_steps: int = 0
    """Largest number of training steps between two checkpoints; 0: one every 30 s, or less often so that saving
    takes less than 2 % of the time. The same command on the same output folder resumes from the last checkpoint."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """Reaction to a loss that becomes NaN or infinite: stop, or roll back to the last checkpoint and continue with half
    the learning rate, three times at most."""
    keep_checkpoint: bool = False
    """Keep the last checkpoint of the finished run in its folder last/, for --continue_from."""
    continue_from: str | None = None
    """Finished run to continue for more epochs; it had the same flags otherwise, and --keep_checkpoint. Does not change
    the result."""
    profile: bool = False
    """Write a profile of ten training steps, after the first ones, into the folder tensorboard of the run."""
    track: Literal["mlflow"] | None = None
    """Service that is told flags, numbers by epoch, results, report and model of the training (extra mlflow). What goes
    wrong with it is said, and the training goes on."""
    track_uri: str | None = None
    """Server or database of --track, such as http://HOST:5000 or sqlite:////FOLDER/mlflow.db; if not given,
    MLFLOW_TRACKING_URI, else mlflow.db in the current folder. MLflow's other variables (login, experiment) count
    too."""
    overwrite: bool = False
    """Replace the run in the output folder, finished or not."""

    flag_groups = FlagGroups(
        main=(
            *("data", "output", "preset", "arch", "image_size"),
            *("epochs", "batch_size", "learning_rate", "threshold_rule", "overwrite"),
        ),
        groups={
            "data": (
                *("data", "external", "sampler", "class_weights", "fold", "holdout_domain", "train_on_val"),
                *("deterministic", "skip_corrupt"),
            ),
            "network": ("arch", "image_size", "weights", "unfreeze_layers", "dropout"),
            "optimization": (
                *("batch_size", "epochs", "fine_tune_epochs", "learning_rate", "fine_tune_learning_rate"),
                *("optimizer", "weight_decay", "clip_norm", "schedule", "warmup_epochs", "plateau_patience"),
                *("early_stopping_patience", "select_by", "label_smoothing", "ema_decay", "on_nan", "seed"),
            ),
            "augmentation": (
                *("augment", "rotation_degrees", "zoom", "shift", "horizontal_flip", "gamma", "contrast"),
                *("brightness", "sharpness", "local_contrast", "border", "downsample", "noise", "jpeg_quality"),
                *("mixup_alpha", "cutout"),
            ),
            "devices": (
                *("strategy", "num_replicas", "precision", "mixed_precision", "jit_compile", "steps_per_call"),
                *("cache", "feature_cache", "cache_dir", "stage_dir", "stage_max_bytes", "shard_files", "profile"),
            ),
            "evaluation": ("threshold_rule", "tta", "prevalence", "evaluate_test"),
            "files": (
                *("output", "config", "preset", "checkpoint_every_steps", "keep_checkpoint", "continue_from"),
                *("track", "track_uri", "overwrite"),
            ),
        },
    )

    def replicas_on(self, num_gpus: int) -> int:
        """Returns the number of replicas on a machine with a number of GPUs, or on its CPU if there are none."""
        return 1 if self.strategy == "none" else self.num_replicas or max(num_gpus, 1)

    def check_replicas(self, num_replicas: int) -> None:
        """Raises a `UsageError` unless a number of replicas divides the global batch, if a number was given."""
        if not isinstance(self.batch_size, int):
            return
        if self.batch_size < num_replicas:
            raise UsageError(
                f"--batch_size is {self.batch_size}, less than the {num_replicas} replicas; "
                f"it is the global batch: give at least {num_replicas}"
            )
        step = self.batch_step(num_replicas)
        if self.batch_size % step:
            nearest = max(round(self.batch_size / step), 1) * step
            pairs = " into pairs of images, as --mixup_alpha needs" if step > num_replicas else ""
            raise UsageError(
                f"--batch_size is {self.batch_size}, which {num_replicas} replicas do not divide{pairs}; try {nearest}"
            )

    def batch_step(self, num_replicas: int) -> int:
        """Returns the number that divides the global batch; with mixup, each replica takes whole pairs of images."""
        return num_replicas * 2 if self.mixup_alpha and num_replicas > 1 else num_replicas
