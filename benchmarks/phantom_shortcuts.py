"""Prints the AUROC by which a single number of a phantom tells its class; 0.5 is a coin toss.

Run as `python benchmarks/phantom_shortcuts.py`. A demo whose classes differ in brightness would prove nothing about
the classifier, so `tests/beam_prep/sources/test_synthetic.py` holds every line of this table under a limit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from beam_prep.sources.phantom import phantom

NUM_IMAGES = 600
IMAGE_PX = 256
SEED = 0


def _entropy(image: np.ndarray) -> float:
    share = np.bincount(image.ravel(), minlength=256) / image.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _gradient(image: np.ndarray) -> float:
    down, right = np.gradient(image.astype(np.float32))
    return float(np.hypot(down, right).mean())


def _laplacian_variance(image: np.ndarray) -> float:
    pixels = image.astype(np.float32)
    neighbours = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float((neighbours - 4 * pixels[1:-1, 1:-1]).var())


def _jpeg_size_bytes(image: np.ndarray) -> float:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=90)
    return float(buffer.tell())


def _centre(image: np.ndarray) -> float:
    height, width = image.shape
    return float(image[height // 4 : -height // 4, width // 4 : -width // 4].mean())


def _border(image: np.ndarray) -> float:
    margin = max(image.shape[0] // 16, 1)
    frame = np.ones(image.shape, bool)
    frame[margin:-margin, margin:-margin] = False
    return float(image[frame].mean())


def _asymmetry(image: np.ndarray) -> float:
    pixels = image.astype(np.float32)
    return float(np.abs(pixels - pixels[:, ::-1]).mean())


def _percentile(percent: int) -> Callable[[np.ndarray], float]:
    return lambda image: float(np.percentile(image, percent))


ONE_NUMBER_BASELINES: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda image: float(image.mean()),
    "std": lambda image: float(image.std()),
    "min": lambda image: float(image.min()),
    **{f"percentile {percent}": _percentile(percent) for percent in (5, 10, 25, 50, 75, 90, 95)},
    "max": lambda image: float(image.max()),
    "entropy": _entropy,
    "gradient": _gradient,
    "laplacian variance": _laplacian_variance,
    "JPEG bytes": _jpeg_size_bytes,
    "centre mean": _centre,
    "border mean": _border,
    "left-right asymmetry": _asymmetry,
}
"""The shortcuts: name → function of one grey image, uint8 [H, W]."""


def equalize(image: np.ndarray) -> np.ndarray:
    """Equalizes the histogram of a grey image, uint8 [H, W] → uint8 [H, W]."""
    cdf = np.bincount(image.ravel(), minlength=256).cumsum() / image.size
    return (255 * cdf).astype(np.uint8)[image]


def shortcut_aurocs(images: Sequence[np.ndarray], labels: Sequence[bool]) -> dict[str, tuple[float, float]]:
    """Computes how well each shortcut tells the classes, in whichever direction it points.

    Args:
        images: grey images, each uint8 [H, W].
        labels: True for PNEUMONIA; both classes must occur.

    Returns:
        Name of the baseline → AUROC between 0.5 and 1, on the images as they are and after equalization.
    """
    equalized = [equalize(image) for image in images]
    table = {}
    for name, baseline in ONE_NUMBER_BASELINES.items():
        raw, after = (roc_auc_score(labels, [baseline(image) for image in stack]) for stack in (images, equalized))
        table[name] = (max(raw, 1 - raw), max(after, 1 - after))
    return table


def main() -> None:
    """Prints the table."""
    labels = [index % 2 == 1 for index in range(NUM_IMAGES)]
    images = [
        phantom(pneumonia=label, image_px=IMAGE_PX, rng=np.random.default_rng([SEED, index]))[0]
        for index, label in enumerate(labels)
    ]
    table = shortcut_aurocs(images, labels)
    print(f"AUROC of one number on {NUM_IMAGES} phantoms of {IMAGE_PX} px\n{'baseline':<22}{'raw':>8}{'equalized':>12}")
    for name, (raw, after) in table.items():
        print(f"{name:<22}{raw:>8.3f}{after:>12.3f}")
    print(f"{'highest':<22}{max(raw for raw, _ in table.values()):>8.3f}{max(eq for _, eq in table.values()):>12.3f}")


if __name__ == "__main__":
    main()
