"""The images of a public set in its own layout, as `prepare --layout` finds them."""

import pytest
from public_sets import SETS as TREES
from public_sets import write_set

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.pipeline.listing import list_inputs, resolve_labels
from beam_prep.sources.layouts.nih import FINDINGS


def find(root, layout: str, **flags):
    """Writes the tree of a set; returns its sources by the names of their files, the counts, and the labels."""
    write_set(root, layout)
    config = PrepConfig(input=str(root), output=f"{root}-dataset", layout=layout, **flags)
    rule = resolve_labels(config, root)
    sources, counts = list_inputs(config, root, rule)
    by_name = {source.filename.rpartition("/")[2]: source for source in sources}
    assert len(by_name) == len(sources) or layout == "chexpert"
    return by_name, {count[:2]: count.num_files for count in counts if count.topic != "no_image"}, rule.labels


def labels_of(sources) -> dict[str, int]:
    return {name: source.label for name, source in sources.items()}


def test_kaggle_has_class_folders_patients_in_names_and_a_test_folder(tmp_path):
    sources, counts, labels = find(tmp_path, "kaggle")
    assert {name: (source.label, source.group, source.split) for name, source in sources.items()} == {
        "IM-0115-0001.jpeg": (0, "IM-0115", None),
        "NORMAL2-IM-1427-0001.jpeg": (0, "NORMAL2-IM-1427", None),
        "person1000_bacteria_2931.jpeg": (1, "person1000_bacteria", None),
        "person1_virus_6.jpeg": (1, "person1_virus", "test"),
    }
    assert (labels.task, labels.class_names) == ("binary", ("NORMAL", "PNEUMONIA"))
    assert counts == {("no_label", "not told by the set"): 1, ("pooled", "train"): 2, ("pooled", "val"): 1}
    kept, counts, _ = find(tmp_path, "kaggle", keep_splits=True)
    assert kept["NORMAL2-IM-1427-0001.jpeg"].split == "val"
    assert ("pooled", "val") not in counts


def test_classes_choose_among_the_labels_of_a_set(tmp_path):
    sources, counts, labels = find(tmp_path, "kaggle", classes=("normal", "bacteria", "virus"))
    assert sorted(labels_of(sources).values()) == [0, 0, 1, 2]
    assert (labels.task, labels.class_names) == ("multiclass", ("normal", "bacteria", "virus"))
    _, counts, _ = find(tmp_path, "kaggle", classes=("NORMAL", "VIRUS"))
    assert counts["other_classes", ""] == 1
    with pytest.raises(UsageError, match="--layout kaggle: the set has no label Edema; choose --classes from NORMAL, "):
        find(tmp_path, "kaggle", classes=("NORMAL", "Edema"))


def test_nih_has_fourteen_findings_and_its_own_test_images(tmp_path, caplog):
    sources, counts, labels = find(tmp_path, "nih", subgroups=("age", "sex", "view"))
    assert (labels.task, labels.class_names) == ("multilabel", FINDINGS)
    first, healthy, old, _ = sources.values()
    assert dict(zip(FINDINGS, first.findings, strict=True)) == {
        **dict.fromkeys(FINDINGS, 0),
        "Cardiomegaly": 1,
        "Emphysema": 1,
    }
    assert set(healthy.findings) == {0}
    assert (first.label, first.group, first.told_by) == (-1, "00000001", "nih")
    assert (first.age, first.sex, first.view, old.age) == ("40-59", "M", "PA", "")
    assert [source.split for source in sources.values()] == [None, None, None, "test"]
    assert counts["no_label", "not told by the set"] == 1
    assert "--layout nih: 1 values of age count as not known" in caplog.text


def test_findings_can_be_read_as_two_classes_of_images_that_have_one_of_them(tmp_path):
    flags = {"task": "binary", "classes": ("No Finding", "Hernia")}
    sources, counts, labels = find(tmp_path, "nih", **flags)
    assert labels_of(sources) == {"00000001_001.png": 0, "00000003_000.png": 1}
    assert (labels.task, counts["other_classes", ""]) == ("binary", 2)
    with pytest.raises(UsageError, match="--task binary needs two classes, --layout nih with 14: name --classes"):
        find(tmp_path, "nih", task="binary")


def test_a_map_joins_labels_of_a_set(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("{Emphysema: lung, Hernia: lung, Cardiomegaly: heart}")
    sources, _, _ = find(tmp_path / "nih", "nih", classes=("lung", "heart"), label_map=str(path))
    assert [source.findings for source in sources.values()] == [(1, 1), (0, 0), (0, 0), (1, 0)]


def test_a_map_leaves_images_of_a_label_out_and_names_labels_of_the_set_only(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("No Lung Opacity / Not Normal: null")
    flags = {"classes": ("Normal", "Lung Opacity"), "label_map": str(path)}
    sources, counts, labels = find(tmp_path / "rsna", "rsna", **flags)
    assert (labels.task, sorted(labels_of(sources).values()), counts["other_classes", ""]) == ("binary", [0, 1], 1)
    path.write_text("Pleurisy: Normal")
    with pytest.raises(
        UsageError, match="--layout rsna: --label_map names pleurisy; the labels of the set are Normal, "
    ):
        find(tmp_path / "rsna", "rsna", **flags)


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", -1), ("positive", 1), ("negative", 0)])
def test_uncertain_findings_of_chexpert_count_as_they_are_told_to(tmp_path, uncertain, value):
    flags = {"classes": ("Edema", "Fracture", "Cardiomegaly"), "uncertain": uncertain}
    write_set(tmp_path, "chexpert")
    config = PrepConfig(input=str(tmp_path), output="o", layout="chexpert", keep_splits=True, **flags)
    sources, counts = list_inputs(config, tmp_path, resolve_labels(config, tmp_path))
    assert {source.group: (source.findings, source.split) for source in sources} == {
        "patient00001": ((0, 0, 0), "train"),
        "patient00002": ((value, 1, -1), "train"),
        "patient64541": ((0, 0, 0), "val"),
    }
    assert ("other_views", "lateral", 1) in counts


def test_of_several_rows_on_an_image_the_first_counts_which_is_said(tmp_path, caplog):
    write_set(tmp_path, "nih")
    with open(tmp_path / "Data_Entry_2017_v2020.csv", "a", encoding="utf-8") as table:
        table.write("00000001_000.png,Hernia,0,1,57,M,PA\n")
    config = PrepConfig(input=str(tmp_path), output="o", layout="nih", classes=("Hernia", "Emphysema"))
    sources, _ = list_inputs(config, tmp_path, resolve_labels(config, tmp_path))
    assert sources[0].findings == (0, 1)
    assert "several rows on 1 images, of which the first counts" in caplog.text


def test_an_image_of_which_no_finding_is_known_is_left_out(tmp_path):
    _, counts, _ = find(tmp_path, "chexpert", classes=("Lung Lesion",))
    assert counts["no_label", "no finding is known"] == 1


def test_mimic_takes_its_own_test_images_and_leaves_studies_without_labels_out(tmp_path):
    sources, counts, _ = find(tmp_path, "mimic", keep_splits=True)
    assert {source.group: source.split for source in sources.values()} == {"p10000032": "train", "p11000764": "val"}
    assert counts == {("other_views", "LATERAL"): 1, ("no_label", "not told by the set"): 1}
    _, counts, _ = find(tmp_path, "mimic")
    assert (counts["pooled", "train"], counts["pooled", "val"]) == (1, 1)


def test_padchest_tells_patients_and_scanners_in_its_table(tmp_path):
    sources, counts, labels = find(tmp_path, "padchest", classes=("Pneumonia", "Pleural Effusion", "COPD signs"))
    first, normal = sources.values()
    assert (first.findings, normal.findings) == ((1, 1, 0), (0, 0, 1))
    assert (first.told_by, first.group, first.is_told_by_user) == (
        "layout",
        "839860488694292331637988235681460987",
        True,
    )
    assert (first.domain, normal.domain) == ("PhilipsMedicalSystems", "ImagingDynamicsCompanyLtd")
    assert counts == {("other_views", "L"): 1, ("no_label", "not told by the set"): 3}
    assert labels.class_names == ("Pneumonia", "Pleural Effusion", "COPD signs")


@pytest.mark.parametrize(
    ("layout", "task", "labels"),
    [
        ("mendeley", "binary", [1, 1, 0]),
        ("rsna", "multiclass", [1, 2, 0]),
        ("vindr", "multilabel", [-1] * 4),
        ("covid_radiography", "multiclass", [1, 2, 0, 3]),
        ("montgomery", "binary", [1, 0]),
    ],
)
def test_other_sets_have_the_task_of_their_labels(tmp_path, layout, task, labels):
    sources, _, space = find(tmp_path, layout)
    assert (space.task, sorted(labels_of(sources).values())) == (task, sorted(labels))


def test_what_the_user_tells_goes_before_what_the_set_tells(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("path,group,label\nimages_001/images/00000001_001.png,somebody,Mass\n")
    sources, _, _ = find(tmp_path / "nih", "nih", metadata_csv=str(table))
    changed = sources["00000001_001.png"]
    assert (changed.group, changed.findings[FINDINGS.index("Mass")]) == ("somebody", 1)
    assert sources["00000001_000.png"].group == "00000001"
    sources, _, _ = find(tmp_path / "nih", "nih", group_regex=r"images_(\d+)/")
    assert {source.group for source in sources.values()} == {"001", "002"}


def test_images_of_another_set_are_refused_in_one_line(tmp_path):
    write_set(tmp_path, "covid_radiography")
    config = PrepConfig(input=str(tmp_path), output="o", layout="kaggle")
    with pytest.raises(
        UsageError, match=r"--layout kaggle: none of the images in --input .* can be used: 4 images have"
    ):
        list_inputs(config, tmp_path, resolve_labels(config, tmp_path))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"label_regex": "x"}, "--label_regex"),
        ({"classes": ("auto",)}, "--classes auto"),
        ({"label_columns": ("A",), "metadata_csv": "x"}, "--label_columns"),
    ],
)
def test_flags_that_a_set_leaves_nothing_to_are_refused(tmp_path, flags, said):
    with pytest.raises(UsageError, match=f"{said}.*--layout nih"):
        find(tmp_path, "nih", **flags)


def test_every_set_has_images_of_all_its_default_classes_or_findings(tmp_path):
    for layout in TREES:
        sources, _, _ = find(tmp_path / layout, layout)
        assert sources
