# Every target sets up its own environment: a fresh machine needs Python 3.11 and pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Files are dealt to two workers; `make test PYTEST_ARGS="-k wire"` narrows a run.
PYTEST_ARGS ?= -n 2 --dist loadfile

.PHONY: help install demo test check format bench bench-control bench-edge bench-head bench-rates bench-family clean

help:
	@echo "make demo    train, export and run a small family end to end; report in out/demo"
	@echo "make test    the test suite"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make bench   speed ratios (docs/benchmarks.md)"
	@echo "make bench-rates DATA=folder:PATH   accuracy against bytes beside JPEG and WebP"
	@echo "make bench-edge   frames a second of one edge for 1 to 200 devices"
	@echo "make bench-head FAMILY=DIR   what a device pays, beside JPEG, WebP and the whole network"
	@echo "make bench-family FAMILY=DIR TRACES=DIR   one page on a family and your links"
	@echo "make bench-control TRACES=DIR   the controller beside an oracle and its rivals"
	@echo "make format  let ruff settle spacing"

install: $(INSTALLED)

# The pins hold for build environments too, hence the variable and not -c.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV), 1.7 GB or more: some minutes, and pip says nothing until it is done"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(abspath constraints.txt) $(BIN)/python -m pip install --quiet \
		--editable ".[cpu,video,export,dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/headgate demo --out out/demo

# Compiled tests are kept, whatever the environment says: to compile all anew takes each worker 8 s.
test: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy profiles train export runtime tests examples
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Let nothing else run meanwhile.
bench: $(INSTALLED)
	$(BIN)/headgate bench speed --goals --out out/bench

# EDGE_ARGS="PATH --fps 10,30" names your own family or load. Let nothing else run meanwhile.
# In EDGE_ARGS, CONTROL_ARGS and RATES_ARGS, --goals also holds the result to this project's goals.
EDGE_ARGS ?=
bench-edge: $(INSTALLED)
	$(BIN)/headgate bench edge $(EDGE_ARGS) --out out/bench

# POINTS is a family folder or a ladder of points.
TRACES ?=
POINTS ?= examples/ladder.toml
CONTROL_ARGS ?=
bench-control: $(INSTALLED)
	@test -n "$(TRACES)" || { echo "give TRACES=DIR, a folder of recorded traces"; exit 2; }
	$(BIN)/headgate bench control $(POINTS) --traces $(TRACES) $(CONTROL_ARGS) --out out/bench

# FAMILY=families/x for your own; without it one is trained on DATA first (hours on a CPU).
# A folder of pictures of several sizes also needs INPUT_PX, the side of the network's input.
RATES_FAMILY := out/bench/rates/family
FAMILY ?= $(RATES_FAMILY)
DATA ?= embedded
RATES_ARGS ?=
bench-rates: $(FAMILY)/family.json | $(INSTALLED)
	$(BIN)/headgate bench rates $(FAMILY) --data $(DATA) $(RATES_ARGS) --out out/bench

# HEAD_ARGS="--data folder:PATH" also measures accuracy. Let nothing else run meanwhile.
HEAD_ARGS ?=
bench-head: $(FAMILY)/family.json | $(INSTALLED)
	$(BIN)/headgate bench head $(FAMILY) $(HEAD_ARGS) --out out/bench

bench-family: $(FAMILY)/family.json | $(INSTALLED)
	$(BIN)/headgate bench family $(FAMILY) $(if $(TRACES),--traces $(TRACES)) --out out/bench

$(RATES_FAMILY)/family.json: | $(INSTALLED)
	$(BIN)/headgate bench train-rates --data $(DATA) $(if $(INPUT_PX),--input-px $(INPUT_PX)) \
		--out out/bench

clean:
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
