# Every target does its own set-up: a bare machine with Python >= 3.11, pip and make is enough.
# The locks pin every package with its hashes; a stamp in the environment says which lock it was made from, so a
# second run starts at once. `make PYTHON=python3.13 ...` chooses another interpreter.

PYTHON ?= python3
VENV ?= .venv
COVERAGE_FLOOR := 90

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  $(if $(UPGRADE),--upgrade) pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUNTIME) ## start the demo: the gateway, a user, a key and a local provider
	$(BIN)/ai-gateway demo

.PHONY: test
test: $(DEV) ## run the tests; fails when branch coverage falls under the floor
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q --durations=25
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)

.PHONY: check
check: $(DEV) ## lint, format, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: e2e
e2e: $(DEV) ## run Claude Code, Codex, opencode and the Node SDKs through the gateway (needs Node.js 20 or newer)
	$(BIN)/pytest -q tests/e2e

.PHONY: bench
bench: $(DEV) ## measure the gateway beside nginx and other gateways; choose with ARGS="--rows turn --rounds 3"
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-short
bench-short: $(DEV) ## a few requests of each row of the bench: right answers and records, no figures
	$(BIN)/python -m tests.bench --short

.PHONY: instructions
instructions: $(DEV) ## count the instructions of a request, and fail when a row got dearer (ARGS=--write keeps the counts)
	$(BIN)/python -m tests.bench.instructions $(or $(ARGS),--check)

.PHONY: faults
faults: $(DEV) ## kill, fill, cut and stall the gateway, and count its records; choose with ARGS="--short kill9"
	$(BIN)/python -m tests.faults $(ARGS)

.PHONY: deploy-check
deploy-check: $(DEV) ## check deploy/ with helm, promtool, Prometheus, nginx and others, kept in ~/.cache; leaves out what it can't get
	$(BIN)/python -m tests.deploy.tools
	DEPLOY_CHECK=1 $(BIN)/pytest -q -rs tests/deploy

.PHONY: deploy-image
deploy-image: ## build the image without Docker and run it read-only (Debian, as root, with buildah and debootstrap)
	tests/deploy/try-image

.PHONY: lock
lock: $(DEV) ## write both locks from pyproject.toml (UPGRADE=1 takes the newest of everything)
	$(LOCK) --group build --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	sed -i.bak '1i\
	# What the gateway runs with, and what builds it. Made by `make lock`; do not edit.' requirements.lock
	sed -i.bak '1i\
	# What the gateway, its build, its tests and its checks run with. Made by `make lock`; do not edit.' requirements-dev.lock
	rm requirements.lock.bak requirements-dev.lock.bak

.PHONY: clean
clean: ## remove what the targets made, except the data of the gateway
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name node_modules -prune -o -name __pycache__ -type d -exec rm -rf {} +

# -- the environment -----------------------------------------------------------------------------------------------

# Debian splits `ensurepip` off from Python: then the pip of the system puts one into the environment.
$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@if $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -c 'import venv, pip' 2>/dev/null; then \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; \
	else \
	  echo '$(PYTHON) can make no virtual environment; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; \
	fi
	@touch $@

$(RUNTIME): requirements.lock pyproject.toml | $(MADE)
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock requirements.lock pyproject.toml | $(MADE)
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUNTIME)
