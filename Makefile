# Every target first sets up .venv from setup.py and requirements.lock. This needs Python 3.11, 3.12 or 3.13, and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser test-slow test-soak test-cluster images test-images test-tfio test-extras lint check bench docs architecture constraints locks digests sbom clean

# The first installed interpreter of a supported version; choose another with: make PYTHON=/path/to/python
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && echo $$name && break; done)
BIN := .venv/bin
# uv compiles the installed files, as pip does by default. Without that, every process takes 7 s longer to load TensorFlow
# where PYTHONDONTWRITEBYTECODE is set.
export UV_COMPILE_BYTECODE := 1
# The extras that can be installed together. tfio and dev-tfio need an older TensorFlow, so test-tfio has its own environment.
EXTRAS := prep dataflow tune gpu k8s kaggle onnx litert mlflow notebooks bench xla docs dev
# The tests of the trainer with TensorFlow 2.17, of s3:// (and of az:// where Azurite is installed), and of DICOM against tensorflow-io.
TFIO_TESTS := $(addprefix tests/,$(addprefix trainer/,augmentation data/test_tfio.py data/test_tf_dataset.py \
	data/test_staging.py inference/test_export.py inference/test_predict.py models/test_models.py training/test_trainer.py) \
	beam_prep/images/dicom)
# The interpreter, if it is one that tensorflow-io 0.37 has wheels for, else nothing.
TFIO_PYTHON := $(shell $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' 2>/dev/null && echo $(PYTHON))
DEMO := build/demo
DEMO_IMAGES ?= 800
# There are fewer phantoms than the study's 5,000 real images, so the learning rate is lower and the augmentation gentler.
DEMO_FLAGS ?= --epochs 15 --learning_rate 3e-4 --plateau_patience 5 --rotation_degrees 10 --zoom 0.1 --shift 0.05

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## create .venv with the project and its dependencies

# The extras of .venv, whose packages stand with their hashes in requirements.lock.
SETUP_EXTRAS := prep train tune k8s kaggle dev
# Installs the packages of a lock file: $(call install,FOLDER OF THE INTERPRETER,LOCK FILE). uv needs seconds where pip needs
# minutes. If uv fails (an index that only pip is configured for), pip installs. Both refuse a file whose hash is not in the lock file.
install = $(BIN)/uv pip install --quiet --python $(1)/python --require-hashes --requirement $(2) \
	|| $(1)/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(2)
# Installs the project itself, built with what is installed by then.
install_project = $(BIN)/uv pip install --quiet --python $(1)/python --no-deps --no-build-isolation --editable . \
	|| $(1)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

.venv/ready: setup.py requirements.lock beam_prep/images/_kernels.c
	@test -n "$(PYTHON)" || { echo "error: expected Python 3.11, 3.12 or 3.13 on the PATH, found none; name one: make PYTHON=/path/to/python3.13" >&2; exit 2; }
	@# Not by --clear, which would empty the environment of another checkout where .venv is a link to it.
	rm -rf .venv && $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock || true
	$(call install,$(BIN),requirements.lock)
	$(call install_project,$(BIN))
	touch $@

demo: .venv/ready ## from synthetic images to an evaluated model and a report page
	rm -rf $(DEMO)
	$(BIN)/python -m beam_prep synthesize --output $(DEMO)/images --num_images $(DEMO_IMAGES)
	$(BIN)/python -m beam_prep prepare --input $(DEMO)/images --output $(DEMO)/dataset
	$(BIN)/python -m trainer train --data $(DEMO)/dataset --output $(DEMO)/run $(DEMO_FLAGS)

test: .venv/ready ## run the fast tests (under 10 minutes on two cores)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not browser and not extras"

test-browser: .venv/ready ## test the report pages in Chromium (skipped where it is not installed)
	$(BIN)/pytest -m browser

SOAK_MINUTES ?= 60
SOAK_SEED ?= 0
test-soak: .venv/ready ## disturb prepare, train and search by kills, full disks and truncated files for an hour (not in CI)
	PYTHONPATH=.:tests/fixtures/servers SOAK_MINUTES=$(SOAK_MINUTES) SOAK_SEED=$(SOAK_SEED) $(BIN)/python tests/soak/soak.py

test-slow: .venv/ready ## run the tests that take minutes each
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not cluster and not images"

test-cluster: .venv/ready ## test k8s on a real control plane, whose first build takes Go and 9 minutes of a core (another: KUBERNETES=1.37.2)
	$(BIN)/python tests/fixtures/controlplane/build_control_plane.py
	$(BIN)/pytest -rs tests/k8s/control_plane

# The extras of the trainer's image; with gpu it has CUDA, and two and a half times the size.
IMAGE_EXTRAS ?= train,tune
images: ## build both images by buildah, without docker, for CPUs (with CUDA: IMAGE_EXTRAS=train,tune,gpu)
	python3 docker/build_images.py $(IMAGE_EXTRAS)

test-images: .venv/ready images ## prepare, train and search in the images, as pods run there (needs root, runc; not in CI)
	$(BIN)/pytest -rs tests/k8s/images

.venv-tfio/ready: .venv/ready requirements-tfio.lock
	rm -rf .venv-tfio && $(TFIO_PYTHON) -m venv .venv-tfio
	$(call install,.venv-tfio/bin,requirements-tfio.lock)
	$(call install_project,.venv-tfio/bin)
	touch $@

test-tfio: $(if $(TFIO_PYTHON),.venv-tfio/ready) ## the trainer with tensorflow-io (in .venv-tfio; Python 3.11 or 3.12)
	$(if $(TFIO_PYTHON),.venv-tfio/bin/pytest -n 2 --dist loadfile -m "not slow and not browser and not extras" $(TFIO_TESTS),@echo \
		"skipped: tensorflow-io has no wheels for Python 3.13; to run these tests: make test-tfio PYTHON=/path/to/python3.12")

# The documentation site, benchmarks, notebooks and formats of other tools need packages that users of the commands do not.
.venv/extras: .venv/ready requirements-extras.lock
	$(call install,$(BIN),requirements-extras.lock)
	touch $@

test-extras: .venv/extras ## test the notebooks, MLflow, ONNX, LiteRT and the program of a GPU with the packages that they need
	$(BIN)/pytest -n 2 --dist loadfile -m extras
	$(BIN)/pytest tests/test_licences.py

lint: .venv/ready ## check formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test ## run lint and test: both must pass before a change is handed in

# Parts of other benchmarks, and those that want images or runs of the user.
NO_BENCH = measure radiographs gpu_commands gpu_compiler gpu_rivals torch_training near_duplicates person_numbers operating_points

bench: .venv/extras ## run the benchmarks that need no images; each prints a ratio to another implementation, or counts what a program does
	failed=; \
	for benchmark in $(filter-out $(NO_BENCH:%=benchmarks/%.py),$(sort $(wildcard benchmarks/*.py))); do \
		echo "== $$benchmark"; TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python $$benchmark || failed="$$failed $$benchmark"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

docs: .venv/extras ## build the documentation site in build/site/html; fails on a broken link
	$(BIN)/python docs/write_site.py
	$(BIN)/zensical build --clean --strict

architecture: .venv/ready ## write the diagrams and tables of ARCHITECTURE.md from docs/architecture/rooms.toml
	$(BIN)/python docs/architecture/rooms.py

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11.5 --fork-strategy requires-python \
	--no-annotate --no-header setup.py

constraints: ## resolve constraints.txt and constraints-tfio.txt again, for all supported Pythons
	{ sed -n '/^#/p' constraints.txt; $(COMPILE) --upgrade $(foreach extra,$(EXTRAS),--extra $(extra)); } > build-constraints.txt
	mv build-constraints.txt constraints.txt
	@# Start from the versions above, so that the two files differ only where they must.
	cp constraints.txt build-constraints.txt
	$(COMPILE) --extra tfio --extra dev-tfio --output-file build-constraints.txt > /dev/null
	{ sed -n '/^#/p' constraints-tfio.txt; sed '/^ *#/d' build-constraints.txt; } > build-constraints-tfio.txt
	mv build-constraints-tfio.txt constraints-tfio.txt
	rm build-constraints.txt
	$(MAKE) locks

# The extras of each image, and of the step of cloudbuild.yaml that submits, by the name of their lock file.
LOCKS := trainer:train,tune,gpu prep:prep submit:k8s

COMPILE_LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
	--constraint constraints.txt

locks: .venv/ready ## write the lock files, which have the hash of every package
	for lock in $(LOCKS); do extras=$${lock#*:}; echo 'setuptools>=77' | $(COMPILE_LOCK) \
		--python-platform x86_64-manylinux_2_28 --extra $${extras//,/ --extra } --output-file docker/$${lock%%:*}.lock \
		setup.py - > /dev/null; done
	echo 'setuptools>=77' | $(COMPILE_LOCK) --universal --fork-strategy requires-python \
		$(addprefix --extra ,$(SETUP_EXTRAS)) --output-file requirements.lock setup.py - > /dev/null
	@# Zensical needs Python 3.11.5.
	echo 'setuptools>=77' | $(COMPILE_LOCK:3.11=3.11.5) --universal --fork-strategy requires-python \
		$(addprefix --extra ,$(filter-out gpu,$(EXTRAS))) --output-file requirements-extras.lock setup.py - > /dev/null
	echo 'setuptools>=77' | $(COMPILE_LOCK:constraints.txt=constraints-tfio.txt) --universal --fork-strategy requires-python \
		--extra tfio --extra dev-tfio --output-file requirements-tfio.lock setup.py - > /dev/null

digests: ## name base images and the steps of Cloud Build by their digests of today (needs docker and a network)
	for image in $$(sed -nE 's/^ARG (SDK|BUILDER|BASE)=([^ @]+).*/\2/p' docker/*.Dockerfile | sort -u; sed -nE 's/^ +name: ([^ @$$]+)(@.*)?$$/\1/p' cloud*.yaml | sort -u); do \
		digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$$image"); \
		[[ "$$digest" == sha256:* ]] || { echo "error: docker told no digest of $$image" >&2; exit 1; }; \
		sed -i -E "s|^(ARG (SDK\|BUILDER\|BASE)=\|  +name: )$$image(@sha256:[0-9a-f]*)?$$|\1$$image@$$digest|" docker/*.Dockerfile cloud*.yaml; done

sbom: ## write build/sbom-*.json, the packages of each image in CycloneDX
	python3 docker/sbom.py

clean: ## delete .venv, build and caches
	rm -rf .venv .venv-tfio .cache build *.egg-info beam_prep/images/*.so .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
