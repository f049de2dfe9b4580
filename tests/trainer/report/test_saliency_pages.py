"""Pictures of image files with heat maps, and the page of them, as `trainer explain` writes them."""

import re

import dicom_files
import numpy as np
from class_predictions import CLASSES, three_classes, write_run
from html_check import assert_valid
from PIL import Image

from beam_prep.pages.origin import Origin
from beam_prep.sources.phantom import phantom
from trainer.config.commands import ExplainConfig
from trainer.evaluation.predictions import read_predictions
from trainer.inference.predict import ClassPrediction
from trainer.jobs.use_model import explain
from trainer.report.heat_overlay import overlay, side_by_side
from trainer.report.saliency_pages import Explanation, picture_names, write_pages
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard


def test_a_picture_a_file_and_a_page(command, run, phantoms, tmp_path):
    first, second = sorted(phantoms.rglob("*.jpeg"))[:2]
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    Image.open(first).resize((300, 200)).save(tmp_path / "in/a/scan.jpeg")
    Image.open(second).save(tmp_path / "in/b/scan.jpeg")
    scan = np.arange(96 * 64, dtype=np.uint16).reshape(96, 64) * 10
    (tmp_path / "in/b/tall.dcm").write_bytes(dicom_files.file(scan, PatientID="SECRET-ID-1"))
    (tmp_path / "in/broken.dcm").write_bytes(dicom_files.file(scan, PatientID="SECRET-ID-2")[:-500])
    result = command("trainer", "explain", tmp_path / "in", "--run", run, "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "broken.dcm: undecodable" in result.stderr
    assert "Traceback" not in result.stderr
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "out").glob("*.png")}
    assert sizes == {"scan.png": (600, 200), "scan-2.png": (192, 96), "tall.png": (128, 96)}
    page = (tmp_path / "out/index.html").read_text()
    assert re.findall(r'<img src="([^"]+)"', page) == ["scan.png", "scan-2.png", "tall.png"], "linked, not embedded"
    assert_valid(tmp_path / "out/index.html")
    assert "FILES --run" in page
    assert not re.search(r"url\((?!#)|@import|https?://", page)
    assert "broken.dcm" in page
    for text in (result.stdout, result.stderr, page):
        assert not any(secret in text for secret in ("SECRET", dicom_files.PATIENT))
    again = command("trainer", "explain", tmp_path / "in", "--run", run, "--output", tmp_path / "out")
    assert again.returncode == 2
    assert "expected an empty or absent folder" in again.stderr


def test_a_large_image_is_shown_smaller_and_whole(run, tmp_path):
    drawn, _ = phantom(pneumonia=True, image_px=1500, rng=np.random.default_rng(0))
    Image.fromarray(drawn).resize((1500, 750)).save(tmp_path / "wide.png")
    (one,) = explain(ExplainConfig(files=(str(tmp_path / "wide.png"),), run=str(run), output=str(tmp_path / "out")))
    assert Image.open(one.picture).size == (2048, 512)


def test_fifty_pictures_are_on_a_page_with_the_truth_where_it_is_known(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    write_run(run, three_classes())
    (known, *_) = read_predictions(run, "test").filenames
    explanations = []
    for number in range(120):
        name = f"/raw/{known}" if number == 0 else f"/raw/healthy/{number}.png" if number == 1 else f"/raw/{number}.png"
        made = ClassPrediction(
            name, "multiclass", CLASSES, [0.2, 0.3, 0.5], [0.1, 0.3, 0.6], [False, False, True], None
        )
        picture = out / f"{number}.png"
        picture.parent.mkdir(exist_ok=True)
        picture.touch()
        explanations.append(Explanation(made, picture, 2))
    write_pages(out, explanations, RunFolder(run), ModelCard.read(RunFolder(run)), Origin("made", None))
    names = ("index.html", "index-2.html", "index-3.html")
    texts = []
    for name in names:
        assert_valid(out / name)
        html = (out / name).read_text()
        assert [each for each in names if f'href="{each}"' in html] == [each for each in names if each != name]
        texts.append(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))
    assert [text.count(" predicted ") for text in texts] == [50, 50, 20]
    assert "Pictures 51 to 100 of 120." in texts[1]
    assert "truth healthy predicted healthy healthy 0.600 /raw/healthy/1.png" in texts[0]
    assert "truth not known predicted healthy healthy 0.600 /raw/2.png" in texts[0]


def test_pictures_of_files_of_one_name_have_names_of_their_own():
    assert picture_names(["a/x.png", "b/x.jpeg", "x-2.dcm", "c/x.dcm"]) == ["x.png", "x-2.png", "x-2-2.png", "x-3.png"]
    long = [f"{folder}/{'ä' * 125}.dcm" for folder in "ab"]
    assert picture_names(long) == [f"{'ä' * 120}.png", f"{'ä' * 120}-2.png"]


def test_an_overlay_is_grey_without_heat_and_coloured_with_it():
    pixels = np.full((60, 90), 120, np.uint8)
    heat = np.zeros((6, 6), np.float32)
    heat[:, 5] = 1
    picture = overlay(pixels, heat)
    assert (picture.shape, picture.dtype) == ((60, 90, 3), np.uint8)
    assert (picture[:, :45] == 120).all()
    assert np.ptp(picture[30, 89].astype(int)) > 40
    both = side_by_side(pixels, heat)
    assert both.shape == (60, 180, 3)
    assert (both[:, :90] == 120).all()
    assert (both[:, 90:] == picture).all()
