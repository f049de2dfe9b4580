"""Lists the sets of chest X-rays whose names of files and folders are known. Standard library only.

Numbers of two sets may be equal; patients are then taken for one, which leaks nothing between splits.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Layout(NamedTuple):
    """The names of files and folders in a set of chest X-rays.

    Attributes:
        title: the name of the set.
        names: the kind of names that tell the patient: `file names` or `folder names`.
        pattern: the regular expression to search a path for, relative to the input folder. Its first group is the
            patient; it has no group where the names of the set do not tell the patient.
        source: the page of the set, or of the paper that describes it.
        advice: a sentence on what else tells the patients, for a set whose names do not.
        domain: the regular expression whose first group that matches is the domain of an image in a path: the source
            within the set; None where the names tell none.
        is_public: True for the names of one public set; False for a form of names that hospitals use, too.
    """

    title: str
    names: str
    pattern: re.Pattern[str]
    source: str
    advice: str = ""
    domain: re.Pattern[str] | None = None
    is_public: bool = True

    @property
    def tells_patient(self) -> bool:
        """True if the names of the set tell the patient."""
        return self.pattern.groups > 0


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_PART = "(?:^|[/_])"  # the beginning of a folder or file, also where folders became parts of a file name
_FILE = "(?:^|/)(?:(?:train|test|val|normal|pneumonia)_)*"  # the same with folders of classes and splits only

LAYOUTS = {
    # Open-i comes before the Kaggle set: its IM-0001 is a part of every name, not a patient.
    "openi": Layout(
        "Open-i, Indiana University",
        "file names",
        _pattern(rf"{_FILE}(CXR\d+(?=_(?:\d+_)?IM-\d)|\d+(?=_IM-[\d-]+\.dcm))"),
        "https://openi.nlm.nih.gov/faq",
    ),
    "bimcv": Layout(
        "BIMCV-COVID19",
        "folder names",
        _pattern(rf"{_PART}(sub-S\d+)(?=[/_])"),
        "https://bimcv.cipf.es/bimcv-projects/bimcv-covid19/",
    ),
    "bids": Layout(
        "BIDS",
        "folder names",
        _pattern(rf"{_PART}(sub-[a-z0-9]+)(?=[/_])"),
        "https://bids-specification.readthedocs.io/en/stable/common-principles.html",
        is_public=False,
    ),
    "chexpert": Layout(
        "CheXpert",
        "folder names",
        _pattern(rf"{_PART}(patient\d+)(?=[/_]study\d)"),
        "https://stanfordmlgroup.github.io/competitions/chexpert/",
    ),
    "mimic": Layout(
        "MIMIC-CXR",
        "folder names",
        _pattern(rf"{_PART}(p1\d{{7}})(?=[/_])"),
        "https://physionet.org/content/mimic-cxr/2.0.0/",
    ),
    # Viewers export IM-0001-0001.dcm into a folder for each patient; this comes before the IM-0001 of the Kaggle set.
    "patient_folders": Layout(
        "numbered patients",
        "folder names",
        _pattern(r"(?:^|/)((?:patient|subject)[ _-]?\d+)(?![a-z0-9])"),
        "https://www.osirix-viewer.com/",
        is_public=False,
    ),
    "mendeley": Layout(
        "Mendeley, Kermany et al. 2018",
        "file names",
        _pattern(rf"{_FILE}(?:normal|bacteria|virus)-(\d+)-\d"),
        "https://data.mendeley.com/datasets/rscbjbr9sj",
        domain=_pattern(rf"{_FILE}(normal|bacteria|virus)-\d"),
    ),
    # There, one person number stands for two patients, one for each pathogen: person1_virus is in the test folder,
    # person1_bacteria in the train folder.
    "kaggle": Layout(
        "Kaggle",
        "file names",
        _pattern(rf"{_FILE}(person\d+_(?:bacteria|virus)(?=_)|(?:normal\d*-)?IM-\d+(?=-))[^/]*$"),
        "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia",
        # The two numberings of the normal images and the two pathogens: each is of one class.
        domain=_pattern(rf"{_FILE}(?:person\d+_(bacteria|virus)_|((?:normal\d*-)?IM)-\d)"),
    ),
    "nih": Layout(
        "NIH ChestX-ray14",
        "file names",
        _pattern(rf"{_PART}(000[0-3]\d{{4}})_\d{{3}}(?!\d)"),
        "https://nihcc.app.box.com/v/ChestXray-NIHCC",
    ),
    "montgomery": Layout(
        "Montgomery and Shenzhen",
        "file names",
        _pattern(rf"{_FILE}((?:MCU|CHN)CXR_\d+)_\d"),
        "https://doi.org/10.3978/j.issn.2223-4292.2014.11.20",
        domain=_pattern(rf"{_FILE}(MCU|CHN)CXR_\d"),
    ),
    "jsrt": Layout(
        "JSRT",
        "file names",
        _pattern(rf"{_FILE}(JPC[LN]N\d{{3}})(?!\d)"),
        "http://db.jsrt.or.jp/eng.php",
    ),
    "padchest": Layout(
        "PadChest",
        "file names",
        _pattern(rf"{_FILE}\d{{30,}}_(?:\d\d-\d{{3}}-\d{{3}}|[a-z0-9]{{6}})\."),
        "https://bimcv.cipf.es/bimcv-projects/padchest/",
        "The column PatientID of the set's table tells them: --layout padchest reads it.",
    ),
    "vindr": Layout(
        "VinDr-CXR",
        "file names",
        _pattern(rf"{_FILE}[0-9a-f]{{32}}\."),
        "https://physionet.org/content/vindr-cxr/1.0.0/",
        "The set does not tell its patients.",
    ),
    "rsna": Layout(
        "RSNA 2018, or other UUIDs",
        "file names",
        _pattern(rf"{_FILE}[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}\."),
        "https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018",
        "RSNA's table of the images of NIH ChestX-ray14 that it took tells them: write NIH's patient as the column "
        "group of a --metadata_csv.",
    ),
    "covid_radiography": Layout(
        "COVID-19 Radiography",
        "file names",
        _pattern(rf"{_FILE}(?:COVID|Normal|Lung_Opacity|Viral Pneumonia)-\d+\."),
        "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
        "The set does not tell its patients.",
    ),
}
"""The layouts by name, the special ones before the general ones: the first that fits a path is taken."""


def find_layout(path: str, only: str | None = None) -> tuple[str, str | None] | None:
    """Returns the name of the first layout that fits a path, and the patient (None if its names tell none).

    Args:
        path: the path relative to the input folder.
        only: the name of the layout that the path must fit; None for any layout.

    Returns:
        None where no layout fits.
    """
    for name, layout in LAYOUTS.items() if only is None else [(only, LAYOUTS[only])]:
        if match := layout.pattern.search(path):
            return name, match[1] if layout.tells_patient else None
    return None


def find_domain(path: str) -> str:
    """Returns the domain that the names of a known set tell, such as `NORMAL2-IM`; empty where they tell none.

    Args:
        path: the path relative to the input folder.
    """
    found = find_layout(path)
    pattern = LAYOUTS[found[0]].domain if found else None
    match = pattern.search(path) if pattern else None
    return next(filter(None, match.groups()), "") if match else ""
