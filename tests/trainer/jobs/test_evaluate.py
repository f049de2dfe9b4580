"""Runs are evaluated as one model only if they belong together."""

from dataclasses import replace

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.commands import EvaluateConfig
from trainer.jobs.evaluate import check_ensemble_output, describe_ensemble
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint


def test_an_output_folder_is_used_again_for_the_same_runs_only(tmp_path):
    config = EvaluateConfig(run=("a", "b"), data="d", output=str(tmp_path / "out"))
    described = [
        ModelCard(arch, 32, "hist", [], "ab", device="CPU", summary=arch) for arch in ("vgg19", "baseline_cnn")
    ]
    folder = RunFolder(tmp_path / "out")
    assert check_ensemble_output(folder, config, described) is None
    folder.path.mkdir()
    assert check_ensemble_output(folder, config, described) is None
    point = OperatingPoint(0.3, "youden", 1.2)
    describe_ensemble(config, described, point).write(folder)
    assert check_ensemble_output(folder, config, described).operating_point == point
    assert [each.get("tta") for each in ModelCard.read(folder).members] == [None, None]
    mirrored = describe_ensemble(config, [replace(described[0], tta=True), described[1]], point)
    assert [each.get("tta") for each in mirrored.members] == [True, None]
    for other in (replace(config, tta=True), replace(config, run=("b", "a"))):
        with pytest.raises(UsageError, match="an earlier evaluation of the same runs"):
            check_ensemble_output(folder, other, described)
    (folder.path / "model.json").rename(folder.path / "thesis.doc")
    with pytest.raises(UsageError, match="name another folder"):
        check_ensemble_output(folder, config, described)
    with pytest.raises(UsageError, match="what one of them tests on"):
        check_ensemble_output(folder, config, [described[0], replace(described[1], dataset_fingerprint="cd")])
