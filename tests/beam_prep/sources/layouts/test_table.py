"""The names of files and folders in public sets, and the patients that they tell."""

import pytest

from beam_prep.sources.layouts.table import LAYOUTS, find_domain, find_layout

# Layout → paths and the patients that they tell; None where the set does not tell them.
PATHS = {
    "kaggle": {
        "chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg": "person1_bacteria",
        "chest_xray/train/PNEUMONIA/person1637_virus_2835_1.jpeg": "person1637_virus",
        "chest_xray/train/NORMAL/IM-0115-0001.jpeg": "IM-0115",
        "chest_xray/train/NORMAL/IM-0433-0001-0002.jpeg": "IM-0433",
        "chest_xray/train/NORMAL/NORMAL2-IM-0383-0001.jpeg": "NORMAL2-IM-0383",
        "NORMAL-IM-0115-0001.jpeg": "NORMAL-IM-0115",
        "flat/train_NORMAL_IM-0115-0001.png": "IM-0115",
    },
    "mendeley": {
        "train/NORMAL/NORMAL-1003233-0001.jpeg": "1003233",
        "train/PNEUMONIA/BACTERIA-1008087-0002.jpeg": "1008087",
        "test/PNEUMONIA/VIRUS-11419-0001.jpeg": "11419",
    },
    "nih": {
        "images_001/images/00000061_012.png": "00000061",
        "NORMAL/00030805_000.jpeg": "00030805",
        "NORMAL_00000061_012_256px.png": "00000061",
    },
    "chexpert": {
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg": "patient00001",
        "NORMAL/patient00001_study1_view1_frontal.jpg": "patient00001",
    },
    "mimic": {
        "files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.dcm": "p10000032",
        "NORMAL/p19999987_s50414267.jpg": "p19999987",
    },
    "bids": {"sub-0815/ses-1/anat/sub-0815_T1w.png": "sub-0815"},
    "bimcv": {
        "sub-S03044/ses-E06154/mod-rx/sub-S03044_ses-E06154_run-1_bp-chest_vp-pa_dx.png": "sub-S03044",
        "PNEUMONIA/sub-S03044_ses-E06154_run-1_bp-chest_vp-pa_dx.png": "sub-S03044",
    },
    "openi": {
        "NLMCXR_png/CXR1_1_IM-0001-3001.png": "CXR1",
        "NLMCXR_png/CXR1234_IM-0001-1001.png": "CXR1234",
        "images_normalized/17_IM-0460-1001.dcm.png": "17",
    },
    "montgomery": {"CXR_png/MCUCXR_0001_0.png": "MCUCXR_0001", "CXR_png/CHNCXR_0662_1.png": "CHNCXR_0662"},
    "jsrt": {"All247images/JPCLN001.png": "JPCLN001"},
    "patient_folders": {
        "PNEUMONIA/patient07/IM-0001-0001.jpg": "patient07",
        "Subject 12/left.png": "Subject 12",
        "NORMAL/patient_7-2.png": "patient_7",
    },
    "padchest": {"0/216840111366964012283393834152009033102258826_00-163-058.png": None},
    "vindr": {"train/000434271f63a053c4128a0ba6352c7f.dicom": None},
    "rsna": {"stage_2_train_images/0004cfab-14fd-4e49-80ba-63a80b6bddd6.dcm": None},
    "covid_radiography": {"Viral Pneumonia/images/Viral Pneumonia-1.png": None, "COVID/images/COVID-1.png": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_a_set_tell_its_patients(layout):
    assert {path: find_layout(path) for path in PATHS[layout]} == {
        path: (layout, patient) for path, patient in PATHS[layout].items()
    }


@pytest.mark.parametrize(
    "path",
    [
        "NORMAL/scan.png",
        "NORMAL/20200131_001.png",  # a date, no patient of NIH's
        "NORMAL/IM-0115/1.png",
        "impatient7/1.png",
        "NORMAL/Normal-1-rotated.png",
    ],
)
def test_other_names_belong_to_no_set(path):
    assert find_layout(path) is None


def test_a_set_tells_its_patients_or_says_what_does():
    for layout in LAYOUTS.values():
        assert layout.pattern.groups <= 1
        assert layout.tells_patient != bool(layout.advice)
        assert layout.source.startswith("http")


@pytest.mark.parametrize(
    ("path", "domain"),
    [
        ("chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg", "bacteria"),
        ("chest_xray/train/PNEUMONIA/person1637_virus_2835_1.jpeg", "virus"),
        ("flat/train_NORMAL_IM-0115-0001.png", "IM"),
        ("chest_xray/train/NORMAL/NORMAL2-IM-0383-0001.jpeg", "NORMAL2-IM"),
        ("test/PNEUMONIA/VIRUS-11419-0001.jpeg", "VIRUS"),
        ("CXR_png/CHNCXR_0001_0.png", "CHN"),
        ("images_001/images/00000061_012.png", ""),
        ("NORMAL/scan.png", ""),
    ],
)
def test_the_domain_is_told_by_the_file_names_of_some_sets(path, domain):
    assert find_domain(path) == domain
