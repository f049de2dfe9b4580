"""Sets of other sources are checked against the training images and followed in a training, but never trained on."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare
from trainer.config.commands import EvaluateConfig
from trainer.config.train import TrainConfig
from trainer.data.folds import RecordIndex
from trainer.external.sets import count_shared, open_external_sets
from trainer.jobs.compare import compare
from trainer.jobs.evaluate import evaluate
from trainer.jobs.train import train
from trainer.run.folder import RunFolder, read_history
from trainer.run.identity import differences, job_of
from trainer.run.model_card import ModelCard
from trainer.tables import print_numbers


def config(dataset: Path, output: Path, *external: Path, **flags) -> TrainConfig:
    common = {"image_size": 32, "batch_size": 8, "epochs": 2}
    return TrainConfig(data=str(dataset), output=str(output), external=tuple(map(str, external)), **common | flags)


@pytest.fixture(scope="module")
def selected(dataset, clinic, tmp_path_factory) -> Path:
    """The training of `run`, whose epoch is chosen by the AUROC on the clinic."""
    folder = tmp_path_factory.mktemp("external") / "run"
    train(config(dataset, folder, clinic, select_by="external_auroc"))
    return folder


def test_a_followed_set_is_measured_after_each_epoch_and_changes_no_weight(run, selected):
    followed, alone = read_history(selected), read_history(run)
    names = ("loss", "accuracy", "val_loss", "val_auroc")
    assert [[row[name] for name in names] for row in followed] == [[row[name] for name in names] for row in alone]
    assert all(0 <= row["external_clinic_auroc"] <= 1 and row["external_clinic_loss"] > 0 for row in followed)
    assert not any(name.startswith("external") for name in alone[0])


def test_the_set_that_selects_the_epoch_is_a_development_set(selected, clinic):
    card = json.loads((selected / "model.json").read_text())
    areas = [row["external_clinic_auroc"] for row in read_history(selected)]
    assert card["best"]["epoch"] == 1 + areas.index(max(areas))
    assert card["best"]["external_clinic_auroc"] == max(areas)
    numbers = json.loads((selected / "metrics.json").read_text())["external"]["clinic"]
    assert numbers["transfer"]["role"] == "development"
    assert numbers["num_images"] == 40
    assert numbers["auroc"] == pytest.approx(max(areas), abs=1e-6)
    page = re.sub(r"\s+", " ", (selected / "report.html").read_text())
    assert "clinic (development)" in page
    assert "for the best AUROC on clinic, a development set" in page
    _, again = evaluate(EvaluateConfig(run=(str(selected),), data=str(clinic), split="all"))
    assert again["all"]["transfer"]["role"] == "development"
    assert again["all"]["auroc"] == pytest.approx(numbers["auroc"], abs=1e-6)


def test_runs_are_compared_on_a_set_that_they_followed(selected):
    first, other = compare([str(selected), str(selected)], "external-clinic")
    assert (other.numbers["num_images"], other.difference.value) == (40, 0)
    assert first.numbers["transfer"]["name"] == "clinic"
    with pytest.raises(UsageError, match=r"on external-else, found .*, external-clinic;"):
        compare([str(selected), str(selected)], "external-else")


def test_a_set_that_chose_nothing_is_external_and_stands_beside_validation(run, clinic, capsys):
    evaluate(EvaluateConfig(run=(str(run),), data=str(clinic)))
    folder, numbers = evaluate(EvaluateConfig(run=(str(run),), data=str(clinic), split="val"))
    val = json.loads((run / "metrics.json").read_text())["val"]
    for split in ("test", "val"):
        assert numbers[split]["transfer"]["role"] == "external"
        beside = numbers[split]["transfer"]["validation"]
        assert {name: beside[name] for name in ("auroc", "num_images", "sensitivity")} == {
            name: pytest.approx(val[name]) for name in ("auroc", "num_images", "sensitivity")
        }
    print_numbers({"val": numbers["val"]})
    first, second = re.findall(r"^(val\w*) +(\d+)", capsys.readouterr().out, re.MULTILINE)
    assert (first, second) == (("validation", str(val["num_images"])), ("val", str(numbers["val"]["num_images"])))
    page = re.sub(r"\s+", " ", folder.report.read_text())
    assert f"<h1>{run.name} on clinic</h1>" in page
    assert re.search(rf'<th scope="row">validation</th><td class="n">{val["num_images"]}</td>', page)
    for title in ("clinic, test (external)", "clinic, validation (external)"):
        assert f'<th scope="row">{title}</th>' in page, "the splits of another dataset are told apart"
    assert re.search(r"by class and source: NORMAL of validation: median .* NORMAL of clinic, test \(external\)", page)


def test_images_and_patients_of_the_training_are_refused(run, dataset, phantoms, tmp_path):
    again = tmp_path / "again"
    prepare(PrepConfig(input=str(phantoms), output=str(again), image_sizes=(32,), val_fraction=0.5))
    sharing = r"is no set of another source: \d+ of its 80 images .* and \d+ of its \d+ patients"
    with pytest.raises(UsageError, match=sharing):
        train(config(dataset, tmp_path / "run", again))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=sharing):
        evaluate(EvaluateConfig(run=(str(run),), data=str(again), split="all"))
    evaluate(EvaluateConfig(run=(str(run),), data=str(again), split="test"))  # both hold the same test images


@pytest.fixture(scope="module")
def again(clinic, tmp_path_factory) -> str:
    """The images of the clinic in a dataset of other splits."""
    folder = tmp_path_factory.mktemp("prepared") / "again"
    images, salt = (str(clinic.parent / name) for name in ("images", "salt"))
    prepare(PrepConfig(input=images, output=str(folder), image_sizes=(32,), salt_file=salt, val_fraction=0.5))
    return str(folder)


def test_a_set_that_shares_images_with_the_one_that_selects_is_no_external_one(
    selected, dataset, clinic, again, tmp_path, caplog
):
    shared = r"40 of its 40 images and (\d+) of its \1 patients are in \S+/clinic too, by which"
    with pytest.raises(UsageError, match=rf"--external \S+/again: {shared} --select_by external_auroc chooses"):
        train(config(dataset, tmp_path / "run", clinic, Path(again), select_by="external_auroc"))
    assert not (tmp_path / "run").exists()
    _, numbers = evaluate(EvaluateConfig(run=(str(selected),), data=again, split="all"))
    assert numbers["all"]["transfer"]["role"] == "development"
    assert re.search(rf"again: {shared} the epoch of", caplog.text)


@pytest.fixture(scope="module")
def ensemble(run, selected, dataset, tmp_path_factory) -> EvaluateConfig:
    """The evaluation of `run` and `selected` as one model on the validation images of their dataset."""
    output = tmp_path_factory.mktemp("ensemble") / "both"
    config = EvaluateConfig(run=(str(run), str(selected)), data=str(dataset), split="val", output=str(output))
    evaluate(config)
    return config


def test_what_selected_a_member_of_an_ensemble_is_no_external_set_of_the_ensemble(ensemble, selected, again, caplog):
    card = ModelCard.read(RunFolder(Path(ensemble.output)))
    assert card.development == ModelCard.read(RunFolder(selected)).development
    _, numbers = evaluate(replace(ensemble, data=again))
    assert numbers["val"]["transfer"]["role"] == "development"
    assert numbers["val"]["transfer"]["validation"]["num_images"] > 0
    num_images = numbers["val"]["num_images"]
    said = rf"again: {num_images} of its {num_images} images and .* are in \S+/clinic too, by which the epoch of"
    assert re.search(rf"{said} {re.escape(str(selected))} was chosen", caplog.text)


def indexed(groups: list[str], source_ids: list[str]) -> RecordIndex:
    unknown = [""] * len(groups)
    return RecordIndex(
        [0] * len(groups), groups, [f"file {place}" for place in range(len(groups))], unknown, source_ids
    )


def test_shared_images_are_known_by_their_pixels_and_patients_by_their_hashes():
    known = indexed(["g1", "g2"], ["p1", "p2"])
    assert count_shared(indexed(["g1", "g1", "g3"], ["p1", "p9", "p2"]), known) == (2, 1)
    assert count_shared(indexed([""], [""]), indexed([""], [""])) == (0, 0)


def test_a_set_that_was_prepared_otherwise_is_refused_with_the_command_that_prepares_it(dataset, clinic, tmp_path):
    manifest, elsewhere, other = Manifest.read(dataset), Manifest.read(clinic), tmp_path / "other"
    other.mkdir()
    replace(elsewhere, options={**elsewhere.options, "equalization": "none"}).write(other)
    command = r"prepare --input IMAGES --output \S+ --image_sizes 32 --equalization hist"
    with pytest.raises(UsageError, match=rf"--external other: .* equalization hist, .* with none; .*{command}"):
        open_external_sets(config(dataset, tmp_path / "run", other), manifest)
    larger = {
        split: [replace(shard, path=shard.path.replace("size-32", "size-48")) for shard in shards]
        for split, shards in elsewhere.sizes["32"].items()
    }
    pixels = {"48": elsewhere.pixels["32"]}
    replace(elsewhere, sizes={"48": larger}, pixels=pixels).write(other)
    with pytest.raises(UsageError, match=rf"trained at 32 px, .* holds 48 px; .*{command}"):
        open_external_sets(config(dataset, tmp_path / "run", other), manifest)
    with pytest.raises(UsageError, match="--external dataset: is the dataset that is trained on"):
        open_external_sets(config(dataset, tmp_path / "run", dataset), manifest)
    with pytest.raises(UsageError, match=r"--external absent: .*/absent: expected a dataset .* found no such folder"):
        open_external_sets(config(dataset, tmp_path / "run", tmp_path / "absent"), manifest)


def test_flags_that_do_not_go_together_are_refused(run, dataset, clinic, tmp_path):
    with pytest.raises(UsageError, match="needs --external"):
        config(dataset, tmp_path / "run", select_by="external_auroc")
    with pytest.raises(UsageError, match="two folders of one name"):
        config(dataset, tmp_path / "run", clinic, tmp_path / "clinic")
    with pytest.raises(UsageError, match="--split all: expected a dataset of another source"):
        evaluate(EvaluateConfig(run=(str(run),), data=str(dataset), split="all"))


def test_an_unfinished_run_with_other_sets_is_another_job(dataset, clinic, tmp_path):
    flags = config(dataset, tmp_path / "run", clinic).to_json()
    started = json.loads(json.dumps(job_of(flags, "ab", {"clinic": "c" * 64})))
    moved = config(dataset, tmp_path / "run", Path("elsewhere/clinic")).to_json()
    assert differences(started, job_of(moved, "ab", {"clinic": "c" * 64})) == []
    assert "--external" in differences(started, job_of(flags, "ab", {"clinic": "d" * 64}))[0]
    assert "--external" in differences(started, job_of(config(dataset, tmp_path / "run").to_json(), "ab"))[0]
