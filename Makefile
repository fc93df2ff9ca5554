PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: a quarter of the time tests wait for servers and disks.
WORKERS ?= $(shell expr $$(nproc) + 1)

# Where this is set, every command would compile hundreds of modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run setup test lint bench docs guards

run: $(VENV)/.installed
	$(BIN)/vallum up --demo

setup: $(VENV)/.ready

# What running needs, and no more.
$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --require-hashes -r requirements-build.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q src
	touch $@

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q src tests
	touch $@ $(VENV)/.installed

test: setup
	scripts/ensure-services
	# A file is one worker's, with what its tests share; scenarios, which take longest, come first.
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/render_docs.py --check

bench: setup
	$(BIN)/python bench/gate.py
	$(BIN)/python bench/ledger.py
	$(BIN)/python bench/gateway.py --litellm "$(LITELLM)"

docs: setup
	$(BIN)/python scripts/render_docs.py

# The injection guard's models, from labelled texts: make guards DATA=folder KEY=signing.key
guards: setup
	$(BIN)/pip install --quiet --require-hashes -r requirements-training.lock
	$(BIN)/python training/injection/train.py --data "$(DATA)" --key "$(KEY)"
