"""Lists the public sets that `--layout` knows, with their labels, licences and citations. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beam_prep.dataset.schema import BINARY, CLASS_NAMES, MULTICLASS, MULTILABEL
from beam_prep.sources.layouts import chexpert, class_folders, montgomery, nih, padchest, rsna, vindr
from beam_prep.sources.layouts.named_set import NamedSet

FOLDERS = "folders"
"""The layout of a user who names no set: class folders, and the names of known sets tell the patients."""

_KERMANY = (
    "Kermany, Zhang, Goldbaum: Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification, "
    "Mendeley Data, 2018, doi:10.17632/rscbjbr9sj.2"
)
_PATHOGENS = ("BACTERIA", "VIRUS")

SETS: dict[str, NamedSet] = {
    "kaggle": NamedSet(
        "Kaggle, chest-xray-pneumonia",
        BINARY,
        CLASS_NAMES,
        class_folders.read_kaggle,
        "CC BY 4.0",
        _KERMANY,
        more_labels=_PATHOGENS,
    ),
    "mendeley": NamedSet(
        "Mendeley, chest X-rays of Kermany et al.",
        BINARY,
        CLASS_NAMES,
        class_folders.read_mendeley,
        "CC BY 4.0",
        _KERMANY,
        more_labels=_PATHOGENS,
    ),
    "nih": NamedSet(
        "NIH ChestX-ray14",
        MULTILABEL,
        nih.FINDINGS,
        nih.read_nih,
        "free to use; the NIH Clinical Center and the place of the download are to be named",
        "Wang et al.: ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017",
        more_labels=("No Finding",),
        notes="the labels were mined from reports, and the reports are not public",
    ),
    "chexpert": NamedSet(
        "CheXpert",
        MULTILABEL,
        chexpert.FINDINGS,
        chexpert.read_chexpert,
        "research only, after registration with Stanford; not to be passed on",
        "Irvin et al.: CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels, AAAI 2019",
        more_labels=(chexpert.NO_FINDING,),
        notes="the labels were mined from reports; uncertain ones are treated as --uncertain says",
    ),
    "mimic": NamedSet(
        "MIMIC-CXR-JPG",
        MULTILABEL,
        chexpert.FINDINGS,
        chexpert.read_mimic,
        "PhysioNet Credentialed Health Data License; not to be passed on",
        "Johnson et al.: MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs, 2019, "
        "arXiv:1901.07042; PhysioNet, doi:10.13026/8360-t248 (version 2.0.0) or doi:10.13026/jsn5-t979 (2.1.0)",
        more_labels=(chexpert.NO_FINDING,),
        notes="the labels are those of a study, mined from its report by CheXpert's labeller",
    ),
    "rsna": NamedSet(
        "RSNA Pneumonia Detection Challenge 2018",
        MULTICLASS,
        rsna.CLASSES,
        rsna.read_rsna,
        "not for commercial use, by the terms of the challenge",
        "Shih et al.: Augmenting the NIH Chest Radiograph Dataset with Expert Annotations of Possible Pneumonia, "
        "Radiology: Artificial Intelligence, 2019",
        notes="the images are a part of NIH ChestX-ray14, and several may be of one patient",
    ),
    "vindr": NamedSet(
        "VinDr-CXR",
        MULTILABEL,
        vindr.FINDINGS,
        vindr.read_vindr,
        "PhysioNet Credentialed Health Data License; not to be passed on",
        "Nguyen et al.: VinDr-CXR: an open dataset of chest X-rays with annotations, Scientific Data, 2022",
        more_labels=(vindr.NO_FINDING,),
    ),
    "padchest": NamedSet(
        "PadChest",
        MULTILABEL,
        padchest.FINDINGS,
        padchest.read_padchest,
        "research only, by the agreement of BIMCV",
        "Bustos et al.: PadChest: A large chest x-ray image dataset with multi-label annotated reports, Medical Image "
        "Analysis, 2020",
        more_labels=("normal",),
        has_more_labels=True,
        notes="most labels were mined from reports; some files of the set are broken, see --max_rejected_fraction",
    ),
    "covid_radiography": NamedSet(
        "COVID-19 Radiography",
        MULTICLASS,
        class_folders.COVID_CLASSES,
        class_folders.read_covid_radiography,
        "that of each source, which the page of the set lists",
        "Chowdhury et al.: Can AI Help in Screening Viral and COVID-19 Pneumonia?, IEEE Access, 2020; Rahman et al.: "
        "Exploring the effect of image enhancement techniques on COVID-19 detection using X-ray images, Computers "
        "in Biology and Medicine, 2021",
        notes="its classes come from different sources, whose traits may tell the class; Viral Pneumonia and a part of "
        "Normal are images of the Kaggle set, of children",
    ),
    "montgomery": NamedSet(
        "Montgomery and Shenzhen",
        BINARY,
        montgomery.CLASSES,
        montgomery.read_montgomery,
        "free for research; the National Library of Medicine is to be named",
        "Jaeger et al.: Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, "
        "Quantitative Imaging in Medicine and Surgery, 2014",
    ),
}
"""The public sets by the value of `--layout`."""


def find_set(options: Mapping[str, Any]) -> NamedSet | None:
    """Returns the public set that the options of a dataset name, as its manifest holds them; None if they name none."""
    return SETS.get(str(options.get("layout")))
