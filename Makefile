# What people and CI call. Needs Python 3.11+ and make; uses uv where it is installed.
.DEFAULT_GOAL := help
.PHONY: help install run worker test test-servers test-faults test-long lint types bench docs migrate lock

VENV := .venv
BIN := $(VENV)/bin
# Newer than the pins means there is nothing to do. RUNTIME: what the program needs; STAMP: and what
# its tests and checks need.
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.installed
DOCS := .venv-docs
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal
ARGS ?=
# Images of Python often set it; each process would then compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
# Which tests run again on servers.
AGAIN ?= not faults

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## set up .venv with the pinned requirements, those of tests too; start nothing

$(STAMP): requirements.txt requirements-dev.txt
	@$(call set_up,requirements-dev.txt,about 225 MB,a minute and a half)
	@touch $(RUNTIME)

# With the tests' packages there already, all are brought up to date: none is taken away. (Not by
# calling make again: `make -n` does that even so, and would install.)
ifneq ($(wildcard $(BIN)/pytest),)
$(RUNTIME): $(STAMP)
	@touch $@
else
$(RUNTIME): requirements.txt
	@$(call set_up,requirements.txt,about 95 MB,a minute)
endif

# $(call set_up,PINS,SIZE,TIME): nothing is made before the Python is known to be new enough, and an
# environment of another one is made anew. Where uv cannot reach its index, pip may.
define set_up
{ $(if $(PYTHON),$(PYTHON) -c '$(NEW_ENOUGH)',false) 2>/dev/null || { \
	echo "Python 3.11 or newer is needed$(if $(PYTHON),; $(PYTHON) is older or missing). Install one, or name it: make install PYTHON=/path/to/python3.11" >&2; exit 1; }; \
$(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null || rm -rf $(VENV); \
echo "Setting up $(VENV) with $(1): downloads $(2), takes $(3) with pip, 20 s with uv." >&2; \
if uv --version >/dev/null 2>&1 \
	&& { [ -d $(VENV) ] || uv venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV); } \
	&& uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes $(1); then \
	touch $@ && echo "Installed into $(VENV) (uv)."; \
else \
	{ $(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }; } \
	&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) \
	&& touch $@ && echo "Installed into $(VENV) (pip)."; \
fi; }
endef

run: $(RUNTIME)  ## start everything with a demo: two reports on the terminal, then the site, until Ctrl-C
	@exec $(BIN)/flask up --demo --with-parent $(ARGS)

worker: $(RUNTIME)  ## one more worker beside those that run already
	@exec $(BIN)/python worker.py

test: $(STAMP)  ## the test suite on the embedded default; again on servers where TEST_*_URL are set
	TEST_BACKEND=embedded $(PYTEST) -m "not faults" $(ARGS)
	@if [ -n "$$TEST_DATABASE_URL$$TEST_REDIS_URL" ]; then $(MAKE) --no-print-directory test-servers; fi

test-servers: $(STAMP)  ## the test suite on TEST_DATABASE_URL / TEST_REDIS_URL alone
	TEST_BACKEND=servers $(PYTEST) -m "$(AGAIN)" $(ARGS)

test-faults: $(STAMP)  ## the tests that kill things and take longer
	TEST_BACKEND=embedded $(PYTEST) -m faults $(ARGS) $$(grep -rl --include="test_*.py" "mark\.faults" tests)

test-long: $(STAMP)  ## by night: the tests that think of examples, with others each time
	TEST_BACKEND=embedded $(PYTEST) -m hypothesis --hypothesis-profile=long $(ARGS)
	@if [ -n "$$TEST_DATABASE_URL$$TEST_REDIS_URL" ]; then \
		TEST_BACKEND=servers $(PYTEST) -m hypothesis --hypothesis-profile=long $(ARGS); \
	fi

lint: $(STAMP)  ## formatter check, linter, type check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

types: $(STAMP)  ## the type check alone
	$(BIN)/mypy

bench: $(STAMP)  ## the benchmarks: a table of ratios
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(DOCS)/.installed  ## the site of documents, into site/: open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --clean
	@echo "Open site/index.html"

# Apart, so that neither `make run` nor `make test` downloads it.
$(DOCS)/.installed: VENV := $(DOCS)
$(DOCS)/.installed: BIN := $(DOCS)/bin
$(DOCS)/.installed: requirements-docs.txt
	@$(call set_up,requirements-docs.txt,about 15 MB,half a minute)

migrate: $(RUNTIME)  ## bring the database to the newest version
	$(BIN)/flask db upgrade

screenshots: $(STAMP)  ## make the pictures of README and docs anew (needs a Chromium)
	$(BIN)/python docs/screenshots.py

lock: $(STAMP)  ## pin the requirements-*.in anew, with hashes
	@uv --version >/dev/null 2>&1 || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	for pins in requirements requirements-dev requirements-docs; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header $$pins.in -o $$pins.txt; done
