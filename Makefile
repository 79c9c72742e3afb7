# make demo: set up and run the story. make test: set up and run every check. Both work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAPERS = $(subst _,-,$(basename $(notdir $(filter-out %/__init__.py,$(wildcard src/reclaim/papers/published/*.py)))))
export RECLAIM_DATA ?= $(abspath ../shared/data)

.PHONY: demo test test-gpu lint audit battery mutants bench long tables clean

demo: $(VENV)/ready
	$(BIN)/reclaim demo

test: $(VENV)/ready lint
	$(BIN)/python -m pytest -m "not gpu"

# what needs a graphics card
test-gpu: $(VENV)/ready
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; \
	  then $(BIN)/python -m pytest -m gpu; else echo "no card"; fi

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# whether a vulnerability is known in what constraints.txt names; says "not audited" where nobody can be asked
audit: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip-audit || true
	$(BIN)/python -m tests.audit

# what users may bring, tried many times: make battery SEED=1 TRIES=6000
SEED ?= 0
TRIES ?= 6000
battery: $(VENV)/ready
	$(BIN)/python -m tests.battery --seed $(SEED) --tries $(TRIES)

# small faults put into one room, and how many of them its tests see: make mutants ROOM=selectors
ROOM ?= selectors
COUNT ?= 40
mutants: $(VENV)/ready
	$(BIN)/python -m tests.mutants $(ROOM) --seed $(SEED) --count $(COUNT)

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks.speed.trade_off_curve
	$(BIN)/python -m benchmarks.speed.prediction
	$(BIN)/python -m benchmarks.speed.predict_loop
	$(BIN)/python -m benchmarks.speed.loop
	$(BIN)/python -m benchmarks.speed.device
	$(BIN)/python -m benchmarks.calibration.tables
	$(BIN)/python -m benchmarks.repairs.choosing

# what takes longer than a test may: every benchmark, and every entry of papers/published in its quick form
long: bench
	$(BIN)/python -m benchmarks.repairs.stitched --seeds 2
	for paper in $(PAPERS); do $(BIN)/reclaim paper $$paper --quick --out out/papers/$$paper --force || exit 1; done

# hours: every fine-tuning behind the tables of docs/results/repair.md, and every entry in full
tables: $(VENV)/ready
	for set in design confirmation; do \
	  $(BIN)/python -m benchmarks.repairs.run run --set $$set && \
	  $(BIN)/python -m benchmarks.repairs.run table --set $$set || exit 1; \
	done
	$(BIN)/python -m benchmarks.repairs.stitched --seeds 2
	for paper in $(PAPERS); do $(BIN)/reclaim paper $$paper --out out/papers/$$paper --force || exit 1; done

$(VENV)/ready: pyproject.toml constraints.txt tests/finder.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Reclaim needs Python 3.11 or newer; say make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[torchvision,timm,transformers,open-clip,peft,lightning,data,onnx,test]"
	$(BIN)/python -m tests.finder
	touch $@

clean:
	rm -rf $(VENV) out reclaim-demo
