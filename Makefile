# Everything here needs python3 (3.10 or newer) and make, and makes its own virtual environment.
#
#   make demo     both machines of the tutorial on loopback, with throwaway certificates
#   make test     the unit tests, and the interop tests whose programs are installed
#   make lint types own bench docs test-installed     what changing the project needs
#
# Another Python: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
TRIAL ?= -m twisted.trial
TESTS ?= tests
BIN = $(VENV)/bin
INSTALLED = build/$(if $(filter-out 0,$(SNIPROXY_PURE)),pure,compiled)
MEASURED = build/measured/$(notdir $(INSTALLED))
INSTALLED_TESTS ?= $(addprefix tests.,balancing common config endpoints http logs net plugins service stream tls wire test_tap)
DECLARED = setup.cfg pyproject.toml
SOURCES = setup.py $(shell find compiling sniproxy twisted -name '*.py')

.PHONY: help demo test test-installed lint format types own bench docs news clean

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

# As `pip install .` makes it: compiled, unless SNIPROXY_PURE says no or something is missing. Tests are reached through
# a folder in which there is no source of ours, so that what they import is what was installed.
test-installed: $(INSTALLED)/.test
	mkdir -p $(INSTALLED)/beside
	ln -sfn $(CURDIR)/tests $(CURDIR)/benchmarks $(INSTALLED)/beside
	$(INSTALLED)/bin/twistd sniproxy --version
	cd $(INSTALLED)/beside && $(CURDIR)/$(INSTALLED)/bin/python $(TRIAL) $(INSTALLED_TESTS)

# First what is missing of Debian's packages, among them what compiling takes; then with Debian's own Python.
bench: $(VENV)/.run
	python=$$($(BIN)/python -m benchmarks.machine) && \
		$(MAKE) PYTHON=$$python INSTALLED=$(MEASURED) $(MEASURED)/.run $(if $(PROFILE),$(MEASURED)/.profile)
	$(MEASURED)/bin/python benchmarks/run.py $(if $(PROFILE),--profile) $(BENCH)

docs: $(VENV)/.run
	$(BIN)/python docs/compatibility.py

news: $(VENV)/.dev
	$(BIN)/towncrier build --draft --version next

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .coverage*
	rm -f *__mypyc.*.so
	find sniproxy -name '*.so' -delete

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

# -- the same for what is installed as users install it ---------------------------------------------------------------

$(INSTALLED)/bin/python:
	$(PYTHON) -m venv $(INSTALLED)

$(INSTALLED)/.wheel: $(DECLARED) $(SOURCES) | $(INSTALLED)/bin/python
	rm -rf $(INSTALLED)/wheel
	$(INSTALLED)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(INSTALLED)/wheel .
	@touch $@

$(INSTALLED)/.run: $(INSTALLED)/.wheel
	$(INSTALLED)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(INSTALLED)/wheel/*.whl
	$(INSTALLED)/bin/python -m pip install --quiet --disable-pip-version-check $(INSTALLED)/wheel/*.whl
	@touch $@

$(INSTALLED)/.test: $(INSTALLED)/.run
	$(INSTALLED)/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo $(INSTALLED)/wheel/*.whl)[test]"
	@touch $@

$(INSTALLED)/.profile: $(INSTALLED)/.run
	$(INSTALLED)/bin/python -m pip install --quiet --disable-pip-version-check py-spy
	@touch $@
