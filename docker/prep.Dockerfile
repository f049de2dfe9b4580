# The preparation: what launches a job on Dataflow, and what its workers run (--sdk_container_image).
#   docker build --file docker/prep.Dockerfile --tag REGISTRY/prep .
# Of the apache-beam in constraints.txt: launcher and workers have to be alike.
FROM apache/beam_python3.11_sdk:2.77.0

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /build
COPY constraints.txt setup.py pyproject.toml ./
RUN pip install --constraint constraints.txt '.[prep]' && pip uninstall --yes cxrflow

COPY LICENSE ./
COPY beam_prep beam_prep
RUN pip install --no-deps .

# No USER: Dataflow starts its workers as the base image does (/opt/apache/beam/boot), pods are given theirs (10001).
WORKDIR /
