# Everything here needs Python 3.11+, make and pip, and nothing else. `make help` explains itself.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help

.PHONY: help install demo up test test-fast crash check format chaos bench acceptance lock clean

help: ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two makes at once must not install into one another: the lock folder is made by one of them only.
$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh deploy/install.sh $(VENV)

install: $(STAMP) ## Create .venv and install everything, as pinned in requirements.lock

demo: $(STAMP) ## Publish real pictures through the whole pipeline to emulated platforms; writes demo.json
	@$(BIN)/schedulerx demo

up: $(STAMP) ## Run everything on this machine until Ctrl-C
	@$(BIN)/schedulerx up

test: $(STAMP) ## Run the tests (real Postgres, Valkey, S3 and workers; the platforms are emulated)
	@$(BIN)/python -m pytest -m "not slow and not acceptance" $(ARGS)

test-fast: $(STAMP) ## Run the unit tests only
	@$(BIN)/python -m pytest tests/unit $(ARGS)

check: $(STAMP) ## Lint, format and types, all strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## Put the code into its format
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

crash: $(STAMP) ## Run the whole kill matrix (every failpoint, every kind of platform)
	@$(BIN)/python -m pytest -m crash tests/crash $(ARGS)

chaos: $(STAMP) ## Kill everything at random under load; ends with: posts N, published P, held H, lost L, doubled D
	@$(BIN)/python -m tests.crash.chaos --json chaos.json $(ARGS)

bench: $(STAMP) ## Measure; writes bench.json
	@$(BIN)/python -m tests.bench --json bench.json $(ARGS)

acceptance: $(STAMP) ## Tests against real third-party servers, where they can be installed
	@$(BIN)/python -m pytest -m acceptance tests $(ARGS)

lock: $(STAMP) ## Pin again what pyproject.toml asks for, for every Python and system we support (needs network)
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml

clean: ## Remove what was made (the data folder of `up` stays)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis demo.json bench.json chaos.json
