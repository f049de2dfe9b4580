"""Distribution `cxrflow`: one package per room, heavy dependencies in extras (a plain install is light)."""

from setuptools import find_packages, setup

BASE = ["numpy>=2", "pillow>=11", "tyro>=1.0"]
PAGES = ["jinja2", "matplotlib", "tqdm"]
# One decoder for each family of compressed DICOM, none of them under the GPL.
DICOM = ["pydicom>=3.0.1,<4", "pylibjpeg>=2.0.1", "pylibjpeg-openjpeg>=2.4", "python-gdcm>=3.0.24"]
PREP = [*PAGES, *DICOM, "apache-beam>=2.77,<3", "google-crc32c>=1.6", "protobuf>=5"]
TRAIN = [*PAGES, "google-crc32c>=1.6", "tensorflow>=2.17", "tensorboard", "scikit-learn>=1.7", "scipy>=1.13"]

setup(
    name="cxrflow",
    version="0.1.0",
    description="Chest X-ray images in, a trained, evaluated and explained pneumonia classifier out.",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["beam_prep*", "trainer*", "tuning*"]),
    package_data={"beam_prep": ["templates/*"], "trainer": ["templates/*"]},
    install_requires=BASE,
    extras_require={
        "prep": PREP,
        "train": TRAIN,
        "tune": [*TRAIN, "keras-tuner>=1.4.8", "grpcio", "pyyaml"],
        "k8s": ["kubernetes>=33"],
        "kaggle": ["kaggle>=2.2,<3; python_version >= '3.11'", "tqdm"],
        "bench": [
            "importlib_resources; python_version >= '3.11'",
            "tensorflow-datasets>=4.9.10; python_version >= '3.11'",
        ],
        "dev": [
            "mypy",
            "playwright>=1.50",
            "pyjpegls>=1.5",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "scikit-image",
            "uv",
        ],
    },
)
