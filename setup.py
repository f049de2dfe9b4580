"""Distribution `cxrflow`: one package per room, heavy dependencies in extras (a plain install is light)."""

from setuptools import find_packages, setup

BASE = ["numpy>=2", "pillow>=11", "tyro>=1.0"]
PAGES = ["jinja2", "matplotlib", "tqdm"]
# One decoder for each family of compressed DICOM, none of them under the GPL.
DICOM = ["pydicom>=3.0.1,<4", "pylibjpeg>=2.0.1", "pylibjpeg-openjpeg>=2.4", "python-gdcm>=3.0.24"]
# gs:// paths; loaded when one is met.
GCS = ["google-cloud-storage>=3.1"]
# What a worker of a cluster needs besides Beam; no page is made there.
WORKER = [*DICOM, *GCS, "google-crc32c>=1.6", "protobuf>=5"]
PREP = [*PAGES, *WORKER, "apache-beam>=2.77,<3"]
# The part of apache-beam[gcp] that submitting a job takes; all of it would be 90 packages.
DATAFLOW = ["google-cloud-dataflow-client>=0.9,<0.14", "google-auth-httplib2>=0.2,<0.3"]
TRAIN = [*PAGES, *GCS, "google-crc32c>=1.6", "tensorflow>=2.17", "tensorboard", "scikit-learn>=1.7", "scipy>=1.13"]

setup(
    name="cxrflow",
    version="0.1.0",
    description="Chest X-ray images in, a trained, evaluated and explained pneumonia classifier out.",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["beam_prep*", "trainer*"]),
    package_data={"beam_prep": ["templates/*"], "trainer": ["templates/*"]},
    install_requires=BASE,
    extras_require={
        "prep": PREP,
        "worker": WORKER,
        "dataflow": [*PREP, *DATAFLOW],
        "train": TRAIN,
        "gcs": GCS,
        "tune": [*TRAIN, "keras-tuner>=1.4.8"],
        "k8s": ["kubernetes>=33"],
        "bench": [
            "importlib_resources; python_version >= '3.11'",
            "tensorflow-datasets>=4.9.10; python_version >= '3.11'",
        ],
        "dev": [
            *DATAFLOW,
            "gcp-storage-emulator>=2026.7",
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
