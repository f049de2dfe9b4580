"""The images that published results are comparable on."""

from dataclasses import replace

import numpy as np

from trainer.evaluation.predictions import Predictions
from trainer.report.published_results import is_kaggle_test

CLASSES = ("NORMAL", "PNEUMONIA")


def test_only_the_test_folder_of_the_kaggle_set_is_compared_with_published_results():
    labels = (np.arange(624) >= 234).astype(int)
    names = [f"person{i}_virus_{i}.jpeg" if label else f"IM-{i:04d}-0001.jpeg" for i, label in enumerate(labels)]
    nothing = np.zeros(624)
    whole = Predictions(names, names, labels, nothing, nothing, nothing)
    assert is_kaggle_test(CLASSES, whole, "test")
    assert is_kaggle_test(CLASSES, whole.select(np.arange(624) % 100 > 0), "test"), "a few are duplicates"
    assert not is_kaggle_test(CLASSES, whole.select(np.arange(624) % 2 > 0), "test")
    assert not is_kaggle_test(CLASSES, whole, "val")
    assert not is_kaggle_test(CLASSES[::-1], whole, "test")
    assert not is_kaggle_test(CLASSES, replace(whole, filenames=["a.png", *names[1:]]), "test")
    assert not is_kaggle_test(CLASSES, None, "test")
