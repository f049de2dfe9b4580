# The image of trainer and tuner on GPU nodes. CUDA and cuDNN come from the package index, the driver from the node.
#   docker build --file docker/trainer.Dockerfile --tag REGISTRY/trainer .
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The user that the pods run as (k8s/render/pods.py). Their root is read-only but for /tmp, the home folder and volumes.
RUN useradd --uid 10001 --user-group --create-home cxrflow

# The dependencies are gigabytes that change only with the pinned versions: they have a layer below that of the code.
WORKDIR /build
# The lock file has the hashes of every package, and pip refuses a file with another hash. `make locks` writes it.
COPY docker/trainer.lock ./
RUN pip install --require-hashes --requirement trainer.lock

COPY LICENSE README.md setup.py pyproject.toml cxrflow.py ./
COPY beam_prep beam_prep
COPY trainer trainer
COPY tuning tuning
RUN pip install --no-deps --no-build-isolation .

USER 10001:10001
WORKDIR /home/cxrflow
CMD ["python", "-m", "trainer", "--help"]
