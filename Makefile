# Every target does its own set-up: it needs Python 3.11 or later, pip and make.
PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
# The set-up runs again when what is asked for changes, not when a file is merely touched.
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
INSTALLED := .venv/.installed-$(KEY)

.PHONY: demo test check bench docs clean
.DELETE_ON_ERROR:

## The capability map of a real model, small: which neurons carry + - * /.
demo: $(INSTALLED)-gguf
	$(BIN)/brodmann models --fetch smollm2-135m
	$(BIN)/brodmann map smollm2-135m --preset demo --out runs/demo --overwrite

## All tests, those on the bundled models included.
test: export OMP_NUM_THREADS = 1
test: $(INSTALLED)-test
	$(BIN)/brodmann models --fetch smollm2-135m --fetch gemma3-270m
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

## Format, lint, types, import layers, and that the generated pages are fresh.
check: $(INSTALLED)-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

## Speed, as ratios to a peer in the same run.
bench: $(INSTALLED)-bench
	$(BIN)/brodmann models --fetch smollm2-135m
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done

## The documentation, in docs/_build.
docs: $(INSTALLED)-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

clean:
	rm -rf .venv docs/_build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: expected Python 3.11 or later; write: make PYTHON=python3.11 ..." >&2; exit 2; }
	@# Some systems ship Python without the part that puts pip into a new environment.
	$(PYTHON) -m venv .venv || { $(PYTHON) -m venv --clear --without-pip .venv \
	  && $(PYTHON) -m pip --python $@ install pip; }

$(INSTALLED)-%: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@
