"""Trains a tiny convolutional network by NumPy alone, for the audit of what small records tell of the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FILTERS = (8, 16, 32)
"""The filters of each layer; a layer has kernels of 3 x 3 pixels and halves both sides of the image."""
NUM_EPOCHS = 8
MIN_STEPS = 100
"""The number of steps below which a training on few images has more epochs."""
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
DECAYS = (0.9, 0.999)
"""The decays of Adam's means of the gradients and of their squares."""


@dataclass(frozen=True)
class TinyCnn:
    """A network of three convolutions with ReLU and a linear layer, with one logit for each label.

    Attributes:
        weights: the weights of each layer, float32 [inputs, outputs]; the inputs of a convolution are the pixels under
            its kernel, row by row, with their channels.
        biases: the biases of each layer, float32 [outputs].
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]

    @classmethod
    def fit(cls, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> TinyCnn:
        """Trains a network on images; the same images and seed give the same network on the same machine.

        Args:
            images: float32 [N, S, S] around 0, of which S is a multiple of 8.
            labels: int [N, K]: 1 present, 0 absent, -1 unknown; unknown labels have no loss.
            seed: the seed of the first weights and of the order of the images.

        Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015; He, Zhang, Ren and Sun, Delving Deep
            into Rectifiers, 2015 (the first weights).
        """
        rng = np.random.default_rng(seed)
        network = cls._initial(images.shape[1], labels.shape[1], rng)
        values = [*network.weights, *network.biases]
        means, squares = ([np.zeros_like(value) for value in values] for _ in range(2))
        step, steps_an_epoch = 0, -(-len(images) // BATCH_SIZE)
        for _ in range(max(NUM_EPOCHS, -(-MIN_STEPS // steps_an_epoch))):
            order = rng.permutation(len(images))
            for start in range(0, len(order), BATCH_SIZE):
                rows = order[start : start + BATCH_SIZE]
                step += 1
                rate = LEARNING_RATE * np.sqrt(1 - DECAYS[1] ** step) / (1 - DECAYS[0] ** step)
                gradients = network.gradients(images[rows], labels[rows])
                for value, mean, square, gradient in zip(values, means, squares, gradients, strict=True):
                    mean += (1 - DECAYS[0]) * (gradient - mean)
                    square += (1 - DECAYS[1]) * (gradient**2 - square)
                    value -= rate * mean / (np.sqrt(square) + 1e-8)
        return network

    @classmethod
    def _initial(cls, side: int, num_labels: int, rng: np.random.Generator) -> TinyCnn:
        """Draws the first weights for images of a side, px."""
        channels = (1, *FILTERS)
        num_inputs = [9 * number for number in channels[:-1]] + [(side // 2 ** len(FILTERS)) ** 2 * channels[-1]]
        sizes = list(zip(num_inputs, [*FILTERS, num_labels], strict=True))
        weights = [(rng.standard_normal(size) * np.sqrt(2 / size[0])).astype(np.float32) for size in sizes]
        return cls(weights, [np.zeros(size[1], np.float32) for size in sizes])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits of images, float32 [N, K]."""
        return self._forward(images)[2]

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Returns the gradients of the mean cross-entropy of the known labels: of all weights, then of all biases."""
        maps, inputs, logits = self._forward(images)
        known = labels >= 0
        error = (1 / (1 + np.exp(-logits.clip(-30, 30))) - labels) / max(known.sum(), 1)
        error = np.where(known, error, 0).astype(np.float32)[:, None]
        of_weights, of_biases = [_of_batch(inputs[-1], error)], [error.sum(axis=(0, 1))]
        lower = error @ self.weights[-1].T
        for index in reversed(range(len(FILTERS))):
            shape = (len(images), -1, FILTERS[index])
            error = np.where(maps[index + 1].reshape(shape) > 0, lower.reshape(shape), 0)
            of_weights.append(_of_batch(inputs[index], error))
            of_biases.append(error.sum(axis=(0, 1)))
            if index:
                lower = _add_patches(error @ self.weights[index].T, maps[index].shape)
        return [*reversed(of_weights), *reversed(of_biases)]

    def _forward(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Returns images and maps of the convolutions [N, S, S, C], the inputs of all layers [N, rows, I], and logits.

        All products are of one image each: they are too small for the threads of BLAS, whose number would change sums.
        """
        maps, inputs = [images[..., None]], []
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs.append(_patches(maps[-1]))
            num_images, side, *_ = maps[-1].shape
            found = np.maximum(inputs[-1] @ weights + biases, 0)
            maps.append(found.reshape(num_images, side // 2, side // 2, -1))
        inputs.append(maps[-1].reshape(len(images), 1, -1))
        return maps, inputs, (inputs[-1] @ self.weights[-1] + self.biases[-1])[:, 0]


def _of_batch(inputs: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Returns the gradient of the weights between inputs [N, rows, I] and the error of outputs [N, rows, O]: [I, O]."""
    return np.asarray((inputs.transpose(0, 2, 1) @ error).sum(axis=0))


def _patches(maps: np.ndarray) -> np.ndarray:
    """Returns the pixels under a kernel of 3 x 3 at every second row and column: [N, S/2 S/2, 9 C], of [N, S, S, C]."""
    num_images, side, _, channels = maps.shape
    padded = np.pad(maps, ((0, 0), (0, 1), (0, 1), (0, 0)))
    patches = np.empty((num_images, side // 2, side // 2, 9, channels), maps.dtype)
    for place in range(9):
        row, column = divmod(place, 3)
        patches[:, :, :, place] = padded[:, row : row + side : 2, column : column + side : 2]
    return patches.reshape(num_images, -1, 9 * channels)


def _add_patches(patches: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Adds what belongs to the same pixel: [N, S, S, C], of the form of `_patches`, whose transpose this is."""
    num_images, side, _, channels = shape
    padded = np.zeros((num_images, side + 1, side + 1, channels), patches.dtype)
    patches = patches.reshape(num_images, side // 2, side // 2, 9, channels)
    for place in range(9):
        row, column = divmod(place, 3)
        padded[:, row : row + side : 2, column : column + side : 2] += patches[:, :, :, place]
    return padded[:, :side, :side]
