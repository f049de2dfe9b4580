"""Small trees in the layouts of public sets give the labels, views and splits that their tables tell."""

import pytest
from public_sets import SETS as TREES
from public_sets import write_set

from beam_prep.console.errors import UsageError
from beam_prep.images.input_files import find_images
from beam_prep.sources.layouts.chexpert import FINDINGS
from beam_prep.sources.layouts.named_set import OtherView, SetImage
from beam_prep.sources.layouts.registry import SETS
from beam_prep.sources.layouts.set_folder import SetFolder


def read(root, layout: str, *, wants_traits: bool = False) -> dict[str, SetImage | OtherView]:
    """Returns what a set tells of its images, by the names of their files."""
    folder = SetFolder(root, find_images(root).images, f"--layout {layout}", wants_traits=wants_traits)
    return {path.rpartition("/")[2]: image for path, image in SETS[layout].read(folder)}


def tell(tmp_path, layout: str, **options) -> dict[str, SetImage | OtherView]:
    write_set(tmp_path, layout)
    return read(tmp_path, layout, **options)


def present(image: SetImage | OtherView) -> set[str]:
    return {name for name, cell in image.labels.items() if cell == "1"}


def test_every_layout_has_a_tree_a_licence_and_a_citation():
    assert list(TREES) == list(SETS)
    assert all(named.licence and named.citation and named.classes for named in SETS.values())


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            "kaggle",
            {
                "IM-0115-0001.jpeg": {"NORMAL"},
                "NORMAL2-IM-1427-0001.jpeg": {"NORMAL"},
                "person1000_bacteria_2931.jpeg": {"PNEUMONIA", "BACTERIA"},
                "person1_virus_6.jpeg": {"PNEUMONIA", "VIRUS"},
            },
        ),
        (
            "mendeley",
            {
                "NORMAL-1003233-0001.jpeg": {"NORMAL"},
                "BACTERIA-1008087-0001.jpeg": {"PNEUMONIA", "BACTERIA"},
                "VIRUS-1014412-0001.jpeg": {"PNEUMONIA", "VIRUS"},
            },
        ),
        (
            "covid_radiography",
            {
                "COVID-1.png": {"COVID"},
                "Normal-1.png": {"Normal"},
                "Lung_Opacity-1.png": {"Lung_Opacity"},
                "Viral Pneumonia-1.png": {"Viral Pneumonia"},
            },
        ),
        ("montgomery", {"MCUCXR_0001_0.png": {"Normal"}, "CHNCXR_0327_1.png": {"Tuberculosis"}}),
    ],
)
def test_names_of_folders_and_files_are_the_labels(tmp_path, layout, expected):
    assert {name: present(image) for name, image in tell(tmp_path, layout).items()} == expected


def test_the_clinical_readings_beside_the_images_tell_age_and_sex(tmp_path):
    told = tell(tmp_path, "montgomery", wants_traits=True)
    assert {name: (image.age, image.sex) for name, image in told.items()} == {
        "MCUCXR_0001_0.png": ("027Y", "F"),
        "CHNCXR_0327_1.png": ("37y", "male"),
    }


def test_nih_tells_findings_traits_and_the_test_images(tmp_path):
    told = tell(tmp_path, "nih")
    assert {name: present(image) for name, image in told.items()} == {
        "00000001_000.png": {"Cardiomegaly", "Emphysema"},
        "00000001_001.png": {"No Finding"},
        "00000002_000.png": {"Pleural_Thickening"},
        "00000003_000.png": {"Hernia"},
    }
    first = told["00000001_000.png"]
    assert (first.cell("Hernia"), first.age, first.sex, first.view) == ("0", "57", "M", "PA")
    assert [name for name, image in told.items() if image.split == "test"] == ["00000003_000.png"]


def test_nih_without_its_list_of_test_images_says_so(tmp_path, caplog):
    write_set(tmp_path, "nih")
    (tmp_path / "test_list.txt").unlink()
    assert not any(image.split for image in read(tmp_path, "nih").values())
    assert "test_list.txt is not in --input" in caplog.text


def test_chexpert_keeps_uncertain_and_missing_labels_and_leaves_lateral_views_out(tmp_path):
    told = tell(tmp_path, "chexpert")
    by_path = {path: image for path, image in told.items() if isinstance(image, SetImage)}
    assert told["view2_lateral.jpg"] == OtherView("lateral")
    assert len(by_path) == 1, "three images of one name, in the folders of three patients"
    folder = SetFolder(tmp_path, find_images(tmp_path).images, "--layout chexpert")
    images = {path.split("/")[2]: image for path, image in SETS["chexpert"].read(folder) if "frontal" in path}
    healthy, ill, checked = (images[f"patient{number}"] for number in ("00001", "00002", "64541"))
    assert {name: healthy.cell(name) for name in FINDINGS} == {
        **dict.fromkeys(FINDINGS, "0"),
        "Support Devices": "1",
    }
    assert [ill.cell(name) for name in ("Edema", "Fracture", "Pneumonia", "Cardiomegaly")] == ["-1", "1", "0", ""]
    assert {checked.cell(name) for name in FINDINGS} == {"0"}
    assert (ill.age, ill.sex, ill.view) == ("4", "Male", "PA")


def test_mimic_takes_frontal_views_with_the_labels_of_their_study(tmp_path):
    told = tell(tmp_path, "mimic")
    first, lateral, second = told.values()
    assert lateral == OtherView("LATERAL")
    assert (first.cell("Pneumonia"), first.cell("Support Devices"), first.split) == ("0", "", "train")
    assert (second.cell("Pneumonia"), second.cell("Edema"), second.split) == ("-1", "1", "validate")
    assert (second.group, second.view) == ("p11000764", "AP")


def test_rsna_has_three_classes_and_no_labels_of_its_test_images(tmp_path):
    told = tell(tmp_path, "rsna")
    assert [present(image) for image in told.values()] == [
        {"No Lung Opacity / Not Normal"},
        {"Lung Opacity"},
        {"Normal"},
    ]


def test_vindr_takes_what_most_readers_saw(tmp_path):
    told = list(tell(tmp_path, "vindr").values())
    assert [present(image) for image in told] == [{"Nodule/Mass"}, {"No finding"}, set(), {"Other diseases"}]
    assert (told[0].cell("ILD"), told[2].cell("Tuberculosis")) == ("0", "-1")


def test_padchest_takes_frontal_views_with_a_readable_report(tmp_path):
    told = list(tell(tmp_path, "padchest").values())
    assert [image if isinstance(image, OtherView) else present(image) for image in told] == [
        {"pneumonia", "pleural effusion"},
        OtherView("L"),
        {"normal", "copd signs"},
    ]
    first = told[0]
    assert (first.age, first.sex, first.view, first.domain) == ("84", "F", "PA", "PhilipsMedicalSystems")
    assert (first.group, first.cell("mass")) == ("839860488694292331637988235681460987", "0")


@pytest.mark.parametrize(
    ("layout", "table"),
    [
        ("nih", "Data_Entry_2017_v2020.csv"),
        ("chexpert", "CheXpert-v1.0-small/train.csv"),
        ("mimic", "mimic-cxr-2.0.0-split.csv.gz"),
        ("rsna", "stage_2_detailed_class_info.csv"),
        ("vindr", "annotations/image_labels_train.csv"),
        ("padchest", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"),
    ],
)
def test_a_table_that_is_missing_or_damaged_is_named_in_one_line(tmp_path, layout, table):
    write_set(tmp_path, layout)
    name = table.rpartition("/")[2].removesuffix(".gz")
    (tmp_path / table).write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UsageError, match=f"{name}.*(can't be read as a table|expected the columns)"):
        read(tmp_path, layout)
    (tmp_path / table).unlink()
    with pytest.raises(UsageError, match=f"--layout {layout}: .*{name} .*is neither in --input"):
        read(tmp_path, layout)
