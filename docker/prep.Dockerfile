# The image of the preparation: it launches a Dataflow job, and the job's workers run it too (--sdk_container_image).
#   docker build --file docker/prep.Dockerfile --tag REGISTRY/prep .
# The version is that of apache-beam in constraints.txt: launcher and workers must have the same.
ARG SDK=apache/beam_python3.11_sdk:2.77.0
ARG BUILDER=python:3.11-bookworm
ARG BASE=python:3.11-slim-bookworm

FROM ${SDK} AS sdk

# The dependencies change only with the pinned versions: they have a stage and a layer of their own.
FROM ${BUILDER} AS dependencies
ENV PATH=/opt/cxrflow/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# The lock file has the hashes of every package, and pip refuses a file with another hash. `make locks` writes it.
COPY docker/prep.lock ./
RUN python3 -m venv /opt/cxrflow
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement prep.lock

# The code is built where setuptools and a C compiler are; neither of the two stages waits for the other.
FROM ${BUILDER} AS code
ENV PATH=/opt/cxrflow/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY docker/prep.lock ./
RUN python3 -m venv /opt/cxrflow \
    && sed -n '/^setuptools==/,/[^\\]$/p' prep.lock > setuptools.lock \
    && pip install --no-cache-dir --require-hashes --requirement setuptools.lock
COPY LICENSE README.md setup.py pyproject.toml cxrflow.py ./
COPY beam_prep beam_prep
RUN pip install --no-cache-dir --no-deps --no-build-isolation --prefix /code .

FROM ${BASE}
LABEL org.opencontainers.image.title="cxrflow prep" \
      org.opencontainers.image.description="Prepares chest X-rays for training: beam_prep, Apache Beam" \
      org.opencontainers.image.licenses="Apache-2.0"
# Beam's boot would run the workers in a new environment, which does not see the packages of /opt/cxrflow.
ENV PATH=/opt/cxrflow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# The user that the pods run as. Beam's boot program and others end with an error where their user has no name.
RUN useradd --uid 10001 --user-group --create-home cxrflow
# The program that starts Dataflow's workers, and the licences of Beam's own dependencies.
COPY --from=sdk /opt/apache/beam /opt/apache/beam
COPY --from=dependencies /opt/cxrflow /opt/cxrflow
COPY --from=code /code /opt/cxrflow
# There is no USER: Dataflow's workers start as root, as in Beam's own image, pods as user 10001.
WORKDIR /
ENTRYPOINT ["/opt/apache/beam/boot"]
