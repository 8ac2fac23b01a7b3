# Sealgate. `make` alone says what there is to make.

PYTHON ?= python3
UP_ARGS ?=
TEST_ARGS ?=
FUZZ_ARGS ?=
DEMO_BROWSER_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The system's certificates, as pip uses them: behind a proxy that opens TLS uv's own do not do.
UV := UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 $(BIN)/uv
# Folders of Python that people write; gen/ is written by the compiler.
SOURCES := chassis services edge client cli tools tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up demo demo-browser bench test browser browser-test fuzz lint fmt gen ci lock clean

help: ## Say what there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 make setup    with another interpreter (3.11 or newer)"
	@echo "  make up UP_ARGS='--http 127.0.0.1:9000'"
	@echo "  make test TEST_ARGS='tests/unit -k secrets'"
	@echo "  make fuzz FUZZ_ARGS='--seed 7 --examples 50 --kind session'"

setup: $(INSTALLED) ## Make the environment in .venv, from hash-locked dependencies

up: $(INSTALLED) ## Run the whole platform in ./.sealgate until Ctrl-C
	@$(BIN)/sealgate up $(UP_ARGS)

demo: $(INSTALLED) ## Run the published flows against a stack of their own, checking every answer
	@$(BIN)/python -m tools.demo

demo-browser: $(INSTALLED) ## Serve the example of a web page beside a stack of its own until Ctrl-C
	@$(BIN)/python -m tools.demo_browser $(DEMO_BROWSER_ARGS)

bench: $(INSTALLED) ## Measure a stack of its own beside what it could do at best (3 minutes)
	@$(BIN)/python -m tools.bench $(BENCH_ARGS)

test: $(INSTALLED) ## Run all tests
	@# A worker that dies ends the run: with a new one in its place it would wait for ever.
	$(BIN)/pytest --numprocesses logical --maxprocesses 8 --max-worker-restart 0 --dist loadgroup $(TEST_ARGS)

browser: ## Install Debian's Chromium and its driver where there is none (needs root)
	@tools/browser.sh

browser-test: $(INSTALLED) ## Run the tests that drive Chromium
	$(BIN)/pytest tests/browser $(TEST_ARGS)

fuzz: $(INSTALLED) ## Send requests made from the description to a stack of its own (3 minutes)
	@$(BIN)/python -m tools.fuzz $(FUZZ_ARGS)

lint: $(INSTALLED) ## Check style, types, import directions, contracts and generated code
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking protos --against protos/baseline.binpb

fmt: $(INSTALLED) ## Bring sources and contracts into shape
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/buf format --write protos

gen: $(INSTALLED) ## Generate gen/, most of the client, tables of the docs and the signing vectors anew
	$(BIN)/python tools/generate.py
	$(BIN)/python -m tools.vectors

ci: ## Everything that a change has to pass
	@tools/browser.sh || echo "Going on without Chromium: the tests that drive it are skipped."
	@$(MAKE) --no-print-directory lint test

lock: $(INSTALLED) ## Renew the locks in requirements/ from pyproject.toml
	tools/lock.sh

clean: ## Remove caches and build output; .venv and .sealgate stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	find $(SOURCES) gen -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements/uv.txt requirements/tools.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Sealgate needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked dependencies into $(VENV); this needs the network and about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/tools.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@# Compiled now, because every process of the platform would do it again at its first start.
	@$(BIN)/python -m compileall -q chassis services edge client cli gen
	@touch $@
