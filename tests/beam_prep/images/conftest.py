"""Grey images of 8 and 16 bit, [70, 110]."""

import numpy as np
import pytest


@pytest.fixture
def grey8() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(90, 25, (70, 110)), 0, 255).astype(np.uint8)


@pytest.fixture
def grey16() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(9000, 2500, (70, 110)), 0, 65535).astype(np.uint16)
