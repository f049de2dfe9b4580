# The image of the preparation: it launches a Dataflow job, and the job's workers run it too (--sdk_container_image).
#   docker build --file docker/prep.Dockerfile --tag REGISTRY/prep .
# The version is that of apache-beam in constraints.txt: launcher and workers must have the same.
FROM apache/beam_python3.11_sdk:2.77.0

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /build
# The lock file has the hashes of every package, and pip refuses a file with another hash. `make locks` writes it.
COPY docker/prep.lock ./
RUN pip install --require-hashes --requirement prep.lock

COPY LICENSE README.md setup.py pyproject.toml cxrflow.py ./
COPY beam_prep beam_prep
RUN pip install --no-deps --no-build-isolation .

# There is no USER: Dataflow's workers start as the user of the base image (/opt/apache/beam/boot), pods as user 10001.
WORKDIR /
