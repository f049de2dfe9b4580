"""A run is used on datasets of its own preprocessing only."""

from dataclasses import replace

import pytest
from dataset_files import make_manifest

from beam_prep.console.errors import UsageError
from trainer.data.checks import check_same_preprocessing

SQUASHED = make_manifest(options={"equalization": "hist"}, sizes={"32": {}})
PADDED = replace(SQUASHED, options={"equalization": "hist", "fit": "pad"})


def test_a_dataset_of_another_fit_is_refused_with_the_command_that_prepares_it_right():
    labels = SQUASHED.labels
    check_same_preprocessing(labels, "hist", SQUASHED, "D", image_size=32)
    check_same_preprocessing(labels, "hist", PADDED, "D", image_size=32, fit="pad")
    command = "prepare --input IMAGES --output DATASET --image_sizes 32 --equalization hist --fit"
    with pytest.raises(UsageError, match=f"fit pad, D was prepared with squash; prepare it with: .* {command} pad"):
        check_same_preprocessing(labels, "hist", SQUASHED, "D", image_size=32, fit="pad")
    with pytest.raises(UsageError, match=f"fit squash, D was prepared with pad; prepare it with: .* {command} squash"):
        check_same_preprocessing(labels, "hist", PADDED, "D", image_size=32)


def test_a_dataset_of_the_same_names_but_of_another_task_is_refused():
    findings = replace(SQUASHED, task="multilabel")
    with pytest.raises(UsageError, match=r"'PNEUMONIA'\] \(binary\), D holds .*'PNEUMONIA'\] \(multilabel\)"):
        check_same_preprocessing(SQUASHED.labels, "hist", findings, "D", image_size=32)
    others = replace(SQUASHED, class_names=["healthy", "pleural effusion"])
    command = "prepare it with: cxrflow prepare .* --equalization hist"
    with pytest.raises(UsageError, match=f"{command} --classes NORMAL PNEUMONIA$"):
        check_same_preprocessing(SQUASHED.labels, "hist", others, "D", image_size=32)
    with pytest.raises(UsageError, match=f"{command} --task multilabel --classes healthy 'pleural effusion'$"):
        check_same_preprocessing(replace(others, task="multilabel").labels, "hist", SQUASHED, "D", image_size=32)
