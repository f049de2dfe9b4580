"""Trains the networks of `gpu_training.py` in PyTorch: channels last, compiled on a GPU, all images on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gpu_training import Case
from torch import nn

LAST_CONVOLUTIONS = {"vgg19": 8, "inception_resnet_v2": 2}
"""The number of convolutions among the last 10 layers of the Keras networks."""


def baseline_cnn() -> nn.Module:
    """Builds the small network of the study."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2, 3), nn.Dropout(0.2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 2), nn.ReLU()),
        *(nn.MaxPool2d(2, 2), nn.Dropout(0.5), nn.Flatten()),
        *(nn.LazyLinear(256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 512), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(512, 1),
    )


class Block(nn.Module):
    """A residual block with squeeze and excitation."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.before, self.between = nn.GroupNorm(8, inputs), nn.GroupNorm(8, width)
        self.first = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inputs, width, 1, bias=False))
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 8, 1), nn.ReLU(), nn.Conv2d(width // 8, width, 1),
            nn.Sigmoid(),
        )  # fmt: skip
        self.shrinks = stride > 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, width, H / stride, W / stride]."""
        activated = F.relu(self.before(x))
        shortcut = self.shortcut(activated) if self.shrinks else x
        x = self.second(F.relu(self.between(self.first(activated))))
        return shortcut + x * self.excite(x)


def se_resnet() -> nn.Module:
    """Builds the residual network of this project."""
    widths = (32, 64, 128, 256)
    blocks, inputs = [], widths[0]
    for stage, width in enumerate(widths):
        blocks += [Block(inputs, width, 2 if stage else 1), Block(width, width, 1)]
        inputs = width
    head = (nn.GroupNorm(8, inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    return nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, padding=1, bias=False), *blocks, *head, nn.Linear(inputs, 1))


def pretrained(case: Case) -> nn.Module:
    """Builds the head of the study on a network with random weights, and freezes what the case does not train."""
    if case.arch == "vgg19":
        import torchvision

        base = nn.Sequential(torchvision.models.vgg19(weights=None).features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        import timm

        base = timm.create_model("inception_resnet_v2", pretrained=False, num_classes=0)
    base.requires_grad_(False)
    convolutions = [module for module in base.modules() if isinstance(module, nn.Conv2d)]
    if case.trained == "last10":
        for convolution in convolutions[-LAST_CONVOLUTIONS[case.arch] :]:
            convolution.requires_grad_(True)
    width = 512 if case.arch == "vgg19" else 1536
    return nn.Sequential(base, nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 1))


def measure(
    case: Case,
    images: dict[str, np.ndarray],
    rate_of: Callable[[Callable[[int], object], int], float],
    seconds_of: Callable[[Callable[[], object]], float],
    first_seconds: Callable[[Callable[[], object]], float],
) -> tuple[float, float, float, float]:
    """Returns the images per second of a step, and the seconds of an epoch, of validation and of the first steps."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # TF32, as in TensorFlow
    torch.backends.cudnn.benchmark = True
    model: Any = {"baseline_cnn": baseline_cnn, "se_resnet": se_resnet}.get(case.arch, lambda: pretrained(case))()
    held = {split: torch.from_numpy(array).to(device) for split, array in images.items()}
    labels = {split: (torch.arange(len(array), device=device) % 2).float()[:, None] for split, array in held.items()}

    def taken(split: str, index: torch.Tensor | slice) -> torch.Tensor:
        grey = held[split][index][:, None].float() / 255
        return grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    model.eval().to(device)(taken("val", slice(2)))  # gives lazy layers their shapes
    model = model.to(memory_format=torch.channels_last)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    adam = case.arch != "baseline_cnn"
    optimizer = torch.optim.Adam(weights, 1e-4, fused=True) if adam else torch.optim.RMSprop(weights, 1e-4)
    network = torch.compile(model, mode="reduce-overhead") if device == "cuda" else model

    def train(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=case.precision == "bfloat16"):
            loss = F.binary_cross_entropy_with_logits(network(x).float(), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    batch = taken("train", slice(case.batch_size)), labels["train"][: case.batch_size]

    def step(num_steps: int) -> None:
        for _ in range(num_steps):
            loss = train(*batch)
        float(loss)

    def validate() -> None:
        model.eval()
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=case.precision == "bfloat16"):
            for start in range(0, case.num_val, 256):
                network(taken("val", slice(start, start + 256))).float().cpu()
        model.train()

    def epoch() -> None:
        order = torch.randperm(case.num_images, device=device)
        for index in order.split(case.batch_size):
            if len(index) == case.batch_size:
                loss = train(taken("train", index), labels["train"][index])
        float(loss)
        validate()

    model.train()
    first_s = first_seconds(lambda: step(8))
    return rate_of(step, case.batch_size), seconds_of(epoch), seconds_of(validate), first_s
