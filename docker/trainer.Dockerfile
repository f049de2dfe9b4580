# The image of trainer and tuner on GPU nodes. CUDA and cuDNN come from the package index, the driver from the node.
#   docker build --file docker/trainer.Dockerfile --tag REGISTRY/trainer .
# `make images` builds it without docker and for CPUs (EXTRAS), which is two fifths of the size.
ARG BUILDER=python:3.11-bookworm
ARG BASE=python:3.11-slim-bookworm

# The dependencies are gigabytes that change only with the pinned versions: they have a stage and a layer of their own.
FROM ${BUILDER} AS dependencies
ARG EXTRAS=train,tune,gpu
ENV PATH=/opt/cxrflow/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# The lock file has the hashes of every package, and pip refuses a file with another hash. `make locks` writes it.
COPY docker/trainer.lock ./
RUN case "$EXTRAS" in \
        train,tune,gpu) ;; \
        train,tune) sed -i '/^nvidia-/,/[^\\]$/d' trainer.lock ;; \
        *) echo "EXTRAS=$EXTRAS: expected train,tune,gpu or, without CUDA, train,tune" >&2; exit 2 ;; \
    esac
RUN python3 -m venv /opt/cxrflow
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement trainer.lock

# The code is built where setuptools and a C compiler are; neither of the two stages waits for the other.
FROM ${BUILDER} AS code
ENV PATH=/opt/cxrflow/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY docker/trainer.lock ./
RUN python3 -m venv /opt/cxrflow \
    && sed -n '/^setuptools==/,/[^\\]$/p' trainer.lock > setuptools.lock \
    && pip install --no-cache-dir --require-hashes --requirement setuptools.lock
COPY LICENSE README.md setup.py pyproject.toml cxrflow.py ./
COPY beam_prep beam_prep
COPY trainer trainer
COPY tuning tuning
RUN pip install --no-cache-dir --no-deps --no-build-isolation --prefix /code .

FROM ${BASE}
LABEL org.opencontainers.image.title="cxrflow trainer" \
      org.opencontainers.image.description="Trains, searches and predicts on chest X-rays: trainer, tuning, TensorFlow" \
      org.opencontainers.image.licenses="Apache-2.0"
# GKE mounts the driver of its nodes into /usr/local/nvidia; NVIDIA's container toolkit needs no path.
ENV PATH=/opt/cxrflow/bin:$PATH:/usr/local/nvidia/bin \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The user that the pods run as (k8s/render/pods.py). Their root is read-only but for /tmp, the home folder and volumes.
RUN useradd --uid 10001 --user-group --create-home cxrflow
COPY --from=dependencies /opt/cxrflow /opt/cxrflow
COPY --from=code /code /opt/cxrflow
USER 10001:10001
WORKDIR /home/cxrflow
CMD ["python", "-m", "trainer", "--help"]
