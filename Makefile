# What a developer does here, a target each; plain `make` lists them. ARGS="..." goes to the program that a target runs.
# Everything is installed in .venv and .cache, except by `engines`, which as root on Debian or Ubuntu sets up the machine.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
DEV := .venv/.dev
ENGINES := .cache/engines/env
# The tests of each engine in a process of its own, all others in whichever is free.
SIDE_BY_SIDE := -n 3 --dist loadscope
FAST_TESTS := tests/unit tests/cases tests/test_architecture.py
LOAD_ENGINES = while IFS= read -r line; do export "$$line"; done <$(ENGINES)

.DEFAULT_GOAL := help
.PHONY: help demo test soak check install engines images crds lint format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) ## train on two nodes, live; needs no engine and no image
	@$(BIN)/trainlet demo $(ARGS)

test: install engines images ## set everything up, then run every test
	@$(LOAD_ENGINES); $(BIN)/python tests/engines/sweep.py; exec $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

soak: install engines images ## the same with all that takes hours
	@$(LOAD_ENGINES); export TRAINLET_SOAK=1 TRAINLET_LONG=1; $(BIN)/python tests/engines/sweep.py; \
	exec $(BIN)/python -m pytest $(SIDE_BY_SIDE) --timeout 7200 $(ARGS)

check: lint ## format, lint, types, layers and the fast tests
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not engine" $(FAST_TESTS) $(ARGS)

lint: install ## format (only looked at), lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## format and repair what a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(DEV) ## trainlet and the tools for developers, in .venv

engines: ## Docker, Podman and rootless Podman for the tests
	@tests/engines/setup --env $(ENGINES)

images: engines $(RUNTIME) ## the images that the tests run in
	@tests/images/build --env $(ENGINES)

crds: install ## write crds/ again
	$(BIN)/python scripts/generate_crds.py $(ARGS)

bench: install engines images ## measure what README claims
	$(BIN)/python bench/validate.py
	@$(LOAD_ENGINES); exec $(BIN)/python bench/speed.py $(ARGS)

clean: ## remove all that was made here; engines, their images and users stay
	rm -rf .venv .cache dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml scripts/make_venv.py
	@command -v $(PYTHON) >/dev/null || { echo 'make: $(PYTHON) was not found: install Python 3.11 or newer, or name it with make PYTHON=...' >&2; exit 1; }
	$(PYTHON) scripts/make_venv.py .venv
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): $(RUNTIME) # --group came with pip 25.1
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --group crds --group sdk --group clients
	$(BIN)/python -m pip install --quiet --upgrade --target .venv/fast --group fast
	@touch $@
