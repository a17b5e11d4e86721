# The same commands for everybody.  `make demo` and `make test` set up all that they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo page docs types test test-slow soak fuzz check format bench clean

demo: $(VENV)/.demo
	$(BIN)/tmrld up

page: $(VENV)/.dev
	$(BIN)/python hatch_build.py

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --quiet

types: page
	$(BIN)/python -m tests.webui.api_types

test: $(VENV)/.dev check
	$(BIN)/pytest -q -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.dev
	$(BIN)/pytest -q -m slow --timeout 900

# Real processes, and every kind of fault, trial after trial: make soak FAULTS=1000 SEED=1
FAULTS ?= 1000
soak: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.soak --faults $(FAULTS) $(if $(SEED),--seed $(SEED))

# Searches for bytes that a reader of messages or files fails on otherwise than it should: make fuzz KIND=chunk SECONDS=600
KIND ?= all
SECONDS ?= 60
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.protocol.guided "$(KIND)" $(SECONDS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/sim_speed.py
	$(BIN)/python benchmarks/reward.py
	$(BIN)/python benchmarks/capture.py
	$(BIN)/python benchmarks/cars.py
	$(BIN)/python benchmarks/updates.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/checkpoint.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/pacing.py
	$(BIN)/python benchmarks/up_overhead.py
	$(BIN)/python benchmarks/first_lap.py --seeds 3
	$(BIN)/python benchmarks/reference_lap.py --all --recorded
	$(BIN)/python benchmarks/metrics_store.py
	$(BIN)/python benchmarks/live_latency.py
	$(BIN)/python benchmarks/relay.py
	$(BIN)/python benchmarks/fleet.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/ui.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tmrld needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[all]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps tmrl==0.7.1
	@touch $@

clean:
	rm -rf $(VENV) build dist webui/node_modules tmrld/control/page *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
