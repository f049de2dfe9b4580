# Trainer and tuner on GPU nodes. CUDA and cuDNN come from the package index, the driver from the node.
#   docker build --file docker/trainer.Dockerfile --tag REGISTRY/trainer .
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Who the pods run as (k8s/render/pods.py). On their read-only root, only /tmp, the home folder and volumes can be written.
RUN useradd --uid 10001 --user-group --create-home cxrflow

# Gigabytes that change with the pinned versions only: a layer before that of the code.
WORKDIR /build
COPY constraints.txt setup.py pyproject.toml ./
RUN pip install --constraint constraints.txt '.[train,tune,gpu]' && pip uninstall --yes cxrflow

COPY LICENSE ./
COPY beam_prep beam_prep
COPY trainer trainer
COPY tuning tuning
RUN pip install --no-deps .

USER 10001:10001
WORKDIR /home/cxrflow
CMD ["python", "-m", "trainer", "--help"]
