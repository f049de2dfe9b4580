# Every target sets up .venv first, from setup.py and constraints.txt. Needs Python 3.10 to 3.12 and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser test-slow test-tfio lint check bench constraints clean

# The first of these that is there and of a supported version; name another with: make PYTHON=/path/to/python
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.10; do \
	$$name -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' >/dev/null 2>&1 && echo $$name && break; done)
BIN := .venv/bin
# As pip does of itself. Where PYTHONDONTWRITEBYTECODE is set, each process would else take 7 s more for TensorFlow alone.
export UV_COMPILE_BYTECODE := 1
# All that go together: not tfio and dev-tfio, see test-tfio.
EXTRAS := prep dataflow tune gpu k8s kaggle bench dev
# The trainer on TensorFlow 2.17, s3:// (and az:// where Azurite is), and DICOM as tensorflow-io reads it.
TFIO_TESTS := $(addprefix tests/,$(addprefix trainer/,augmentation data/test_tfio.py data/test_tf_dataset.py \
	data/test_staging.py inference/test_export.py inference/test_predict.py models/test_models.py training/test_trainer.py) \
	beam_prep/images/test_dicom.py beam_prep/images/test_dicom_peer.py)
DEMO := build/demo
DEMO_IMAGES ?= 800
# Phantoms are few: gentler steps than for the study's 5,000 real images.
DEMO_FLAGS ?= --epochs 15 --learning_rate 3e-4 --plateau_patience 5

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## .venv with the project and all it needs

.venv/ready: setup.py constraints.txt beam_prep/images/_kernels.c
	@test -n "$(PYTHON)" || { echo "error: expected Python 3.10, 3.11 or 3.12 on the PATH, found none; name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	@# uv installs in seconds what pip takes minutes for; where it can't (an index that only pip is set up for), pip does.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[prep,train,tune,k8s,kaggle,dev]' \
		|| $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[prep,train,tune,k8s,kaggle,dev]'
	touch $@

demo: .venv/ready ## synthetic images to an evaluated model and a page to look at
	rm -rf $(DEMO)
	$(BIN)/python -m beam_prep synthesize --output $(DEMO)/images --num_images $(DEMO_IMAGES)
	$(BIN)/python -m beam_prep prepare --input $(DEMO)/images --output $(DEMO)/dataset
	$(BIN)/python -m trainer train --data $(DEMO)/dataset --output $(DEMO)/run $(DEMO_FLAGS)

test: .venv/ready ## the tests (under 10 minutes on two cores)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not browser"

test-browser: .venv/ready ## the tests of the pages in Chromium (skipped where there is none)
	$(BIN)/pytest -m browser

test-slow: .venv/ready ## the tests that take minutes each
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

.venv-tfio/ready: .venv/ready setup.py constraints-tfio.txt
	$(PYTHON) -m venv --clear .venv-tfio
	$(BIN)/uv pip install --quiet --python .venv-tfio/bin/python --constraint constraints-tfio.txt --editable '.[tfio,dev-tfio]' \
		|| .venv-tfio/bin/pip install --quiet --disable-pip-version-check --constraint constraints-tfio.txt --editable '.[tfio,dev-tfio]'
	touch $@

test-tfio: .venv-tfio/ready ## the trainer with tensorflow-io, which takes an environment of its own
	.venv-tfio/bin/pytest -n 2 --dist loadfile -m "not slow and not browser" $(TFIO_TESTS)

lint: .venv/ready ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test ## what must pass before a change is handed in

bench: .venv/ready ## the benchmarks, each a ratio against its peer
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[bench]'
	for benchmark in $(filter-out benchmarks/measure.py benchmarks/radiographs.py,$(sort $(wildcard benchmarks/*.py))); do echo "== $$benchmark"; TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python $$benchmark; done

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --fork-strategy requires-python \
	--no-annotate --no-header setup.py

constraints: ## constraints.txt and constraints-tfio.txt anew, for all supported Pythons
	{ sed -n '/^#/p' constraints.txt; $(COMPILE) --upgrade $(foreach extra,$(EXTRAS),--extra $(extra)); } > build-constraints.txt
	mv build-constraints.txt constraints.txt
	@# From those versions, so that it differs where it has to.
	cp constraints.txt build-constraints.txt
	$(COMPILE) --extra tfio --extra dev-tfio --output-file build-constraints.txt > /dev/null
	{ sed -n '/^#/p' constraints-tfio.txt; sed '/^ *#/d' build-constraints.txt; } > build-constraints-tfio.txt
	mv build-constraints-tfio.txt constraints-tfio.txt
	rm build-constraints.txt

clean: ## all that was made: .venv, build, caches
	rm -rf .venv .venv-tfio build *.egg-info beam_prep/images/*.so .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
