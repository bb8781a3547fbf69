# Two commands are all a newcomer needs: `make demo` and `make test`. A second run reuses what the first one made.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
VENV_FLOOR ?= .venv-floor
PY := $(VENV)/bin/python
PY_FLOOR := $(VENV_FLOOR)/bin/python
# Tests that run side by side: one per core of the smallest machine that CI has.
WORKERS ?= 2
# The tests of a file share its apps, so that each file is one worker's.
BY_FILE := --dist loadfile

# The tests of pycrdt-websocket, which run on the classes of this project (tests/server/interop/test_upstream_suite.py).
UPSTREAM := .test/upstream
export STREAMLIT_CRDT_TEST_UPSTREAM := $(CURDIR)/$(UPSTREAM)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some container images set it. The tests start hundreds of interpreters, each of which would compile every module.
unexport PYTHONDONTWRITEBYTECODE
export NPM_CONFIG_UPDATE_NOTIFIER := false

FRONTEND_SOURCES := $(shell find frontend -type f 2>/dev/null) package.json package-lock.json
BUNDLE := streamlit_crdt/static/build.json
PACKAGING := pyproject.toml hatch_build.py

.PHONY: help
help:
	@echo "make demo         open the demo app (PORT=... to choose where)"
	@echo "make test         install what is needed, then run every check; 'make test-floor' is part of it"
	@echo "make check        lint, types, and the unit tests of the packages that changed (SINCE=revision, default HEAD~1)"
	@echo "make lint types test-py test-js test-e2e test-floor     one part of it"
	@echo "make soak bench   the long-running checks; the numbers of benchmarks/README.md"
	@echo "make faults       the fault campaigns (BUDGET=seconds, SEED=number); writes the table of docs/reliability.md"
	@echo "make comparison   what this and two other libraries keep of what two people do; installs those two"
	@echo "make lock         renew requirements/constraints.txt"
	@echo "make clean        remove everything that make has made"

# --- install ------------------------------------------------------------------------------------------------

.PHONY: install install-floor browser tools-present
install: $(VENV)/.installed $(BUNDLE) $(UPSTREAM)/.unpacked
install-floor: $(VENV_FLOOR)/.installed $(BUNDLE)

tools-present:
	@command -v $(PYTHON) >/dev/null || { echo "make needs Python 3.11 or newer: install it, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make needs Python 3.11 or newer: name one with 'make PYTHON=python3.12 ...'"; exit 1; }
	@command -v npm >/dev/null || { echo "make needs Node.js 20 or newer with npm: install it and run make again"; exit 1; }

node_modules/.package-lock.json: package.json package-lock.json | tools-present
	npm ci --no-audit --no-fund
	@touch $@

$(BUNDLE): $(FRONTEND_SOURCES) node_modules/.package-lock.json
	npm run --silent build
	@touch $@

# The package is installed in place; its build hook finds the frontend built and leaves it alone.
define make_venv
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || { echo "Python's venv module is missing: on Debian, apt-get install python3-venv"; exit 1; }
	$(1)/bin/python -m pip install --quiet --editable '.[$(3)]' --constraint $(2)
	@touch $(1)/.installed
endef

$(VENV)/.installed: $(PACKAGING) requirements/constraints.txt $(BUNDLE) | tools-present
	$(call make_venv,$(VENV),requirements/constraints.txt,dev)

# pip downloads and verifies the pinned source distribution; the build backend is that of the virtual environment.
$(UPSTREAM)/.unpacked: requirements/upstream-tests.txt | $(VENV)/.installed
	rm -rf $(UPSTREAM) && mkdir -p $(UPSTREAM)
	$(PY) -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation --require-hashes \
	    --requirement $< --dest $(UPSTREAM)
	tar -xzf $(UPSTREAM)/*.tar.gz -C $(UPSTREAM) --strip-components=1
	@touch $@

$(VENV_FLOOR)/.installed: $(PACKAGING) requirements/constraints-floor.txt $(BUNDLE) | tools-present
	$(call make_venv,$(VENV_FLOOR),requirements/constraints-floor.txt,test)

browser: $(VENV)/.installed
	@tools/install_browser.sh $(PY)

# --- checks -------------------------------------------------------------------------------------------------

.PHONY: lint types test-py test-js test-e2e test-floor test-floor-py test-floor-e2e test
lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	npm run --silent lint
	npm run --silent format:check

types: install
	$(PY) -m mypy
	npm run --silent typecheck

test-py: install
	$(PY) -m pytest tests -n $(WORKERS)

test-js: install
	npm run --silent test

test-e2e: install browser
	$(PY) -m pytest e2e -n $(WORKERS) $(BY_FILE)

# The packages whose tests depend on Streamlit, numpy or pandas, and a test of connect() for websockets. The others do not
# differ at the floor; the mounted deployments are part of the browser tests there.
FLOOR_TESTS := $(addprefix tests/,backend binding codec room session testing client/test_connect_to_pycrdt_websocket.py)
test-floor-py: install-floor
	$(PY_FLOOR) -m pytest $(FLOOR_TESTS) -n $(WORKERS)

test-floor-e2e: install-floor browser
	$(PY_FLOOR) -m pytest e2e -m floor -n $(WORKERS) $(BY_FILE)

test-floor: test-floor-py test-floor-e2e

# A quick answer while working: within a minute for a change in one package.
.PHONY: check test-changed
test-changed: install
	$(PY) -m pytest $$($(PY) tools/changed_tests.py $(SINCE)) -n $(WORKERS) -q

check: install
	@$(PY) tools/run_checks.py --side-by-side types lint test-changed

# Everything: what does not depend on time goes side by side on two cores, the browser tests have both to themselves.
test:
	@$(MAKE) --no-print-directory --jobs=3 install install-floor browser
	@$(PY) tools/run_checks.py \
	    --side-by-side lint types test-js test-py test-floor-py \
	    --alone test-e2e test-floor-e2e

# --- the rest -----------------------------------------------------------------------------------------------

.PHONY: demo soak bench comparison faults lock clean
demo: install
	$(VENV)/bin/streamlit-crdt demo $(if $(PORT),--port $(PORT))

soak: install browser
	$(PY) -m pytest tests e2e -m soak -n $(WORKERS)

# BUDGET is in seconds for all campaigns, CAMPAIGNS a selection of tests/faults/.
faults: install
	$(PY) -m tests.faults $(if $(BUDGET),--budget $(BUDGET)) $(if $(SEED),--seed $(SEED)) $(CAMPAIGNS)

bench: browser
	$(PY) -m benchmarks

# Not part of bench: it installs the other libraries, each into a folder of its own, and takes a quarter of an hour.
comparison: browser
	$(PY) -m benchmarks.comparison

# Resolved in a virtual environment of its own, so that only what the project asks for ends up in the list.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --editable '.[dev]'
	{ head -1 requirements/constraints.txt; .venv-lock/bin/python -m pip freeze --exclude-editable; } > .venv-lock/frozen
	mv .venv-lock/frozen requirements/constraints.txt && rm -rf .venv-lock

clean:
	rm -rf $(VENV) $(VENV_FLOOR) .venv-lock .venv-comparison node_modules streamlit_crdt/static dist build .test
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
