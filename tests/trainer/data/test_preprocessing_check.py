"""A run is used on datasets of its own preprocessing only."""

from dataclasses import replace

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.data.checks import check_same_preprocessing

SQUASHED = Manifest(0, 0, 0, 0, 0, {}, {"equalization": "hist"}, {}, {}, {})
PADDED = replace(SQUASHED, options={"equalization": "hist", "fit": "pad"})


def test_a_dataset_of_another_fit_is_refused_with_the_flag_that_prepares_it_right():
    names = SQUASHED.class_names
    check_same_preprocessing(names, "hist", SQUASHED, "D")
    check_same_preprocessing(names, "hist", PADDED, "D", "pad")
    with pytest.raises(UsageError, match="fit pad, D was prepared with squash; prepare it with --fit pad"):
        check_same_preprocessing(names, "hist", SQUASHED, "D", "pad")
    with pytest.raises(UsageError, match="fit squash, D was prepared with pad; prepare it with --fit squash"):
        check_same_preprocessing(names, "hist", PADDED, "D")
