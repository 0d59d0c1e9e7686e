# Two commands do everything: `make demo` and `make test`. Set-up happens once, and again when the lock file changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/python -m uv

.PHONY: demo test test-all check faults mutants lock

demo: $(READY)
	$(BIN)/python -m orchestrator +model=resnet50 exporter=dynamo

test: check
	$(BIN)/python -m pytest -m "not slow"

test-all: check
	$(BIN)/python -m pytest

# What docs/reliability.md promises, tried out as often as it says there; prints its table. On a disk that is slow to sync, TMPDIR=/dev/shm helps.
faults: $(READY)
	$(BIN)/python -m tests.faults

# Good artifacts damaged in every known way: what docs/mutants.md shows. Prints its table, keeps every outcome in the file MUTANTS.
MUTANTS ?= runs/mutants.json
mutants: $(READY)
	$(BIN)/python -m tests.mutants --json $(MUTANTS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Bytecode is compiled here and not in every worker: importing the torch stack without it costs 7 to 11 s a process.
$(READY): requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(UV) --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_COMPILE_BYTECODE=1 $(UV) pip sync --quiet --require-hashes --python $(VENV) requirements.lock
	touch $@

# Universal, with hashes, without any address: where packages come from is the machine's business.
lock: $(READY)
	$(UV) pip compile pyproject.toml --extra zoo --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade --output-file requirements.lock
