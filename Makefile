# mlbench: every target creates the environment when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS   := $(VENV)/.installed-docs
UV     := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage test-all lint format docs benchmark reproduce lecture clean

help:  ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {gsub(/\$$\$$/, "$$", $$2); printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
ifeq ($(UV),)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
else
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --editable '.[all]'
endif
	touch $@

$(DOCS): $(STAMP)
ifeq ($(UV),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
else
	$(UV) pip install --quiet --python $(BIN)/python --editable '.[docs]'
endif
	touch $@

install: $(STAMP)  ## Create .venv with mlbench and all its extras

demo: $(STAMP)  ## Four lifelong methods on permuted digits, three seeds each: a table and a picture
	$(BIN)/mlbench -m experiment=demo lifelong=finetune,ewc,gem,joint seed=0,1,2

test: $(STAMP)  ## The test suite (tests of real data run when $$MLBENCH_DATA has it)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

coverage: $(STAMP)  ## The test suite, and the lines that it does not reach
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" --cov --cov-report=term-missing:skip-covered

test-all: $(STAMP)  ## The test suite with the slow tests
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)  ## ruff: check and format; pyrefly: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: $(STAMP)  ## Let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)  ## The manual, as a site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

benchmark: $(STAMP)  ## Speed against a bare PyTorch loop and captum, one thread (needs MNIST and a quiet machine)
	$(BIN)/python scripts/benchmark.py; missed=$$?; $(BIN)/python scripts/benchmark_maps.py && exit $$missed

reproduce: $(STAMP)  ## The manual's tables of results (needs MNIST, CIFAR-100, spoken digits and GUM; about seven hours)
	$(BIN)/python scripts/reproduce.py

lecture: $(STAMP)  ## The claims of the lectures, tested on data that is there; one page (20 minutes on two cores)
	$(BIN)/mlbench lecture --quick

clean:  ## Remove the environment and what tools left behind; outputs/ stays
	rm -rf $(VENV) build dist site .coverage .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
