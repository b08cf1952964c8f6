# `make smoke` and `make test` need Python 3.11 or newer and nothing else; both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes share two cores well when each computes on one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help smoke test test-slow lint types gpu gpu-camvid bench clean

help:
	@echo "make smoke      set up, then run contextrast-table6 on generated scenes through to its verdict table"
	@echo "make test       set up, then pass the default test suite (some six minutes on two cores)"
	@echo "make test-slow  the tests that take longer: built wheel, kill -9, learning"
	@echo "make lint       ruff and mypy"
	@echo "make bench      ratios that README.md claims"
	@echo "make gpu        GPU tests and timings (needs CUDA)"
	@echo "make gpu-camvid the published CamVid protocol, baseline and Contextrast, in resumable pieces (needs CUDA)"

$(VENV)/.runs: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("segbench needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.tests: $(VENV)/.runs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

smoke: $(VENV)/.runs
	$(BIN)/segbench reproduce contextrast-table6 --budget smoke --out .smoke
	$(BIN)/segbench report contextrast-table6 --out .smoke

test: $(VENV)/.tests
	$(PYTEST) -n 2 -m "not slow and not gpu and not peers"

test-slow: $(VENV)/.tests
	$(PYTEST) -n 2 -m "slow and not gpu and not peers"

lint: $(VENV)/.tests
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

types: $(VENV)/.tests
	$(BIN)/mypy

bench: $(VENV)/.tests
	@for script in startup counting cityscapes_eval pa_loss pixel_contrast contrast_step allocator loop loading eval_speed; do echo benchmarks/$$script.py; $(BIN)/python benchmarks/$$script.py || exit 1; echo; done

gpu: $(VENV)/.tests
	$(PYTEST) -m gpu
	$(BIN)/python benchmarks/gpu_steps.py

# The published CamVid protocol from random weights, in pieces of nine minutes: the same target goes on where it stopped.
CAMPAIGN := $(BIN)/segbench reproduce --dataset camvid --set weights.backbone=random
gpu-camvid: $(VENV)/.runs
	timeout -s INT 270 $(CAMPAIGN) contextrast-table1/camvid-hrnet || test $$? = 124
	timeout -s INT 270 $(CAMPAIGN) contextrast-table6/layers-4-3-2-1 || test $$? = 124

clean:
	rm -rf $(VENV) .smoke dist .pytest_cache .mypy_cache .ruff_cache
