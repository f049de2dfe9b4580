"""The audit of numbers that tell the class by themselves, and the warning about them."""

import random
import shutil

import numpy as np
import pytest
from PIL import Image

from beam_prep import cli
from beam_prep.config import PrepConfig
from beam_prep.dataset.image_stats import ImageStats
from beam_prep.dataset.patient_groups import rank
from beam_prep.planning.shortcut_audit import Audit, auroc, auroc_by_range, make_audit


def stats(**changed) -> ImageStats:
    return ImageStats(800, 600, 75, 5000, 1000, 90_000)._replace(**changed)


def patients(of_class: list[list[ImageStats]]) -> list[tuple[int, int, ImageStats]]:
    """Makes one image a patient, from the statistics of each class."""
    return [
        (label, rank(f"{label}-{i}"), each) for label, members in enumerate(of_class) for i, each in enumerate(members)
    ]


def test_auroc_is_the_share_of_pairs_in_order_with_ties_half():
    rng = random.Random(0)
    one, other = ([rng.randrange(20) + shift for _ in range(40)] for shift in (0, 3))
    pairs = [(low < high) + (low == high) / 2 for low in one for high in other]
    assert auroc(one, other) == pytest.approx(np.mean(pairs))
    assert auroc([1, 2], [3, 4]) == 1.0
    assert auroc([3, 4], [1, 2]) == 0.0
    assert auroc([5, 5], [5]) == 0.5


def test_a_number_that_tells_all_is_found_whichever_way_round():
    wide, narrow = [stats(width=800 + i) for i in range(30)], [stats(width=500 + i) for i in range(20)]
    for of_class, higher_in in (([wide, narrow], "NORMAL"), ([narrow, wide], "PNEUMONIA")):
        audit = make_audit(patients(of_class))
        assert (audit.shortcuts["width"].auroc, audit.shortcuts["width"].higher_in) == (1.0, higher_in)
        assert set(audit.telling(0.9)) == {"width", "aspect", "pixels", "bytes_per_pixel"}
        height = audit.shortcuts["height"]
        assert (height.auroc, height.higher_in, height.note) == (0.5, None, "all the same")


def test_a_class_at_both_ends_of_the_other_is_found():
    rng = random.Random(0)
    middle = [stats(brightness=rng.randrange(4000, 6000)) for _ in range(200)]
    ends = [stats(brightness=rng.choice([rng.randrange(4000), rng.randrange(6000, 9999)])) for _ in range(200)]
    brightness = make_audit(patients([middle, ends])).shortcuts["brightness"]
    assert brightness.auroc < 0.6
    assert brightness.is_by_range
    assert brightness.best == brightness.auroc_by_range > 0.9


def test_what_is_learned_by_range_must_hold_for_other_patients():
    rng = random.Random(0)
    noise = [[stats(brightness=rng.randrange(9999)) for _ in range(60)] for _ in range(2)]
    audit = make_audit(patients(noise))
    assert 0.4 < audit.shortcuts["brightness"].auroc_by_range < 0.6
    assert "brightness" not in audit.telling(0.5)
    assert auroc_by_range([[(1, 0), (2, 1)], [(3, 0)]]) is None
    assert auroc_by_range([[(1, 0), (2, 1)], [(1, 0), (2, 1)]]) == 0.5


def test_the_order_of_the_images_does_not_matter():
    rng = random.Random(0)
    images = patients([[stats(brightness=rng.randrange(9999)) for _ in range(50)] for _ in range(2)])
    assert make_audit(rng.sample(images, len(images))) == make_audit(images)


def test_what_few_patients_tell_is_no_finding():
    def of_patients(count: int) -> Audit:
        """Audits 24 images of each class, of `count` patients."""
        return make_audit(
            (label, rank(f"{i % count}"), stats(height=600 + label)) for label in (0, 1) for i in range(24)
        )

    assert set(of_patients(24).telling(0.8)) == {"height", "aspect", "pixels", "bytes_per_pixel"}
    assert of_patients(24).chance_auroc == pytest.approx(0.5 + 3.05 * (49 / (12 * 24 * 24)) ** 0.5, abs=1e-4)
    assert not of_patients(2).telling(0.8)


def test_patients_with_many_images_that_are_alike_do_not_exceed_chance_more_often():
    rng, exceeding = np.random.default_rng(0), 0
    for _ in range(120):
        images = []
        for patient, (num_images, brightness) in enumerate(
            zip(*(rng.geometric(1 / 3, 60), rng.integers(0, 9999, 60)), strict=True)
        ):
            own = stats(brightness=int(brightness), border_brightness=int(rng.integers(0, 9999)))
            images += [(int(patient < 30), rank(f"{patient}"), own)] * num_images
        exceeding += bool(make_audit(images).telling(0.5))
    assert exceeding <= 0.05 * 120, "two features of ten; without the sizes of the patients 9 of 120 exceed it"


def test_files_that_are_no_jpeg_show_as_such_and_have_no_quality():
    jpeg, other = stats(), stats(jpeg_quality=None)
    audit = make_audit(patients([[jpeg] * 30, [jpeg] * 15 + [other] * 15]))
    assert audit.shortcuts["jpeg"].auroc == 0.75
    assert audit.shortcuts["jpeg"].higher_in == "NORMAL"
    assert audit.shortcuts["jpeg_quality"].num_without == {"NORMAL": 0, "PNEUMONIA": 15}
    undefined = make_audit(patients([[jpeg] * 30, [other] * 30])).shortcuts["jpeg_quality"]
    assert (undefined.auroc, undefined.higher_in) == (None, None)
    assert undefined.note == "no image of a class has one"


def test_a_class_without_images_leaves_every_auroc_undefined():
    audit = make_audit(patients([[stats()] * 3, []]))
    assert {each.auroc for each in audit.shortcuts.values()} == {None}
    assert audit.chance_auroc is None
    assert not audit.telling(0.5)


def test_histograms_hold_every_image_and_no_stray_value_rules_them():
    widths = [[500 + i for i in range(200)], [650 + i for i in range(200)]]
    widths[0][0] = 30_000
    histogram = (
        make_audit(patients([[stats(width=w) for w in of_class] for of_class in widths])).shortcuts["width"].histogram
    )
    assert {name: sum(counts) for name, counts in histogram.counts.items()} == {"NORMAL": 200, "PNEUMONIA": 200}
    assert 500 <= histogram.start < 510
    assert histogram.start + histogram.num_bins * histogram.step < 870
    inside = sum(histogram.start + histogram.step <= w < histogram.start + 2 * histogram.step for w in widths[0])
    assert histogram.counts["NORMAL"][1] == inside


def test_the_console_warns_of_what_tells_the_class(images, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(images, folder)
    config = PrepConfig(input=str(folder), output=str(tmp_path / "plain"), image_sizes=(32,))
    cli.prepare(config, [])
    assert "shortcut:" not in capsys.readouterr().out
    for path in folder.rglob("NORMAL/*.jpeg"):
        Image.open(path).resize((120, 96)).save(path, quality=90)
    cli.prepare(PrepConfig(input=str(folder), output=str(tmp_path / "wide"), image_sizes=(32,)), [])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("shortcut:"))
    assert "Width (AUROC 1.00), Aspect (AUROC 1.00)" in line
    assert "see Shortcuts in the report" in line
