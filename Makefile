# `make smoke` and `make test` need Python 3.11 or newer and nothing else; both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
# Versions to install: the tested ones. Empty for the newest.
CONSTRAINTS := constraints.txt
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
# Two processes share two cores well when each computes on one thread.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help docs smoke test test-latest test-lowest test-slow constraints lint types gpu gpu-camvid bench clean

help:
	@echo "make smoke       set up, then run contextrast-table6 on generated scenes through to its verdict table"
	@echo "make test        set up, then pass the default test suite (some six minutes on two cores)"
	@echo "make test-slow   the tests that take longer: built wheel, kill -9, learning"
	@echo "make test-latest the default test suite against the newest versions, in .venv-latest"
	@echo "make test-lowest the default test suite against the oldest versions that pyproject.toml allows, in .venv-lowest"
	@echo "make constraints write the versions of .venv-latest to constraints.txt, once they pass the suite"
	@echo "make docs        the pages of docs/, to docs/_build/html"
	@echo "make lint        ruff and mypy"
	@echo "make bench       ratios that README.md claims"
	@echo "make gpu         GPU tests and timings (needs CUDA)"
	@echo "make gpu-camvid  the published CamVid protocol, baseline and Contextrast, in resumable pieces (needs CUDA)"

$(VENV)/.runs: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("segbench needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.tests: $(VENV)/.runs
	$(PIP) -e '.[test]'
	touch $@

smoke: $(VENV)/.runs
	$(BIN)/segbench reproduce contextrast-table6 --budget smoke --out .smoke
	$(BIN)/segbench report contextrast-table6 --out .smoke

test: $(VENV)/.tests
	$(PYTEST) -n 2 -m "not slow and not gpu and not peers"

# The newest versions change from day to day, so this environment is always set up afresh.
test-latest:
	rm -rf .venv-latest
	$(MAKE) test VENV=.venv-latest CONSTRAINTS=

test-lowest: .venv-lowest/floors.txt
	$(MAKE) test VENV=.venv-lowest CONSTRAINTS=$<

.venv-lowest/floors.txt: pyproject.toml tests/floors.py
	mkdir -p $(@D)
	$(PYTHON) tests/floors.py > $@

constraints: test-latest
	grep '^#' constraints.txt > .venv-latest/constraints.txt
	.venv-latest/bin/python -m pip freeze --all --exclude segbench --exclude pip >> .venv-latest/constraints.txt
	mv .venv-latest/constraints.txt constraints.txt

test-slow: $(VENV)/.tests
	$(PYTEST) -n 2 -m "slow and not gpu and not peers"

docs: $(VENV)/.tests
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

lint: $(VENV)/.tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

types: $(VENV)/.tests
	$(BIN)/mypy

bench: $(VENV)/.tests
	@for script in startup counting cityscapes_eval pa_loss pixel_contrast contrast_step label_contrast memory_contrast report allocator loop loading eval_speed; do echo benchmarks/$$script.py; $(BIN)/python benchmarks/$$script.py || exit 1; echo; done

gpu: $(VENV)/.tests
	$(PYTEST) -m gpu
	$(BIN)/python benchmarks/gpu_steps.py

# The published CamVid protocol from random weights, in pieces of nine minutes: the same target goes on where it stopped.
CAMPAIGN := $(BIN)/segbench reproduce --dataset camvid --set weights.backbone=random
gpu-camvid: $(VENV)/.runs
	timeout -s INT 270 $(CAMPAIGN) contextrast-table1/camvid-hrnet || test $$? = 124
	timeout -s INT 270 $(CAMPAIGN) contextrast-table6/layers-4-3-2-1 || test $$? = 124

clean:
	rm -rf .venv .venv-latest .venv-lowest .smoke dist .pytest_cache .mypy_cache .ruff_cache
