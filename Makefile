# Everything here needs python3 (3.10 or newer) and make, and makes its own virtual environment.
#
#   make demo     both machines of the tutorial on loopback, with throwaway certificates
#   make test     the unit tests, and the interop tests whose programs are installed
#   make lint types own bench docs     what changing the project needs
#
# Another Python: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
TRIAL ?= -m twisted.trial
TESTS ?= tests
BIN = $(VENV)/bin
DECLARED = setup.cfg pyproject.toml

.PHONY: help demo test lint format types own bench docs news clean

help:
	@sed -n '3,5s/^# *//p' Makefile

# -- what a user types ----------------------------------------------------------------------------------------------

demo: $(VENV)/.run
	$(BIN)/twistd --nodaemon --pidfile= sniproxy --demo

test: $(VENV)/.test
	$(BIN)/python $(TRIAL) $(TESTS)

# -- what a maintainer types ----------------------------------------------------------------------------------------

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

own: $(VENV)/.dev
	$(BIN)/python -m tests.own

bench: $(VENV)/.run $(if $(PROFILE),$(VENV)/.profile)
	$(BIN)/python benchmarks/run.py --install $(if $(PROFILE),--profile) $(BENCH)

docs: $(VENV)/.run
	$(BIN)/python docs/compatibility.py

news: $(VENV)/.dev
	$(BIN)/towncrier build --draft --version next

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .coverage*
	find . -name '*.cpython-*.so' -not -path './.venv*' -delete

# -- the virtual environment: each stamp is one set of packages ------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "sniproxy needs Python 3.10 or newer; try: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(DECLARED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(DECLARED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.profile: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check py-spy
	@touch $@

$(VENV)/.dev: $(DECLARED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run $(VENV)/.test
