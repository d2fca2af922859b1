# Needs Python 3.11 or newer and the package registries; everything else is installed below this folder.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
REQUIREMENTS := requirements/dev.txt
LOCKED := runtime dev litellm litellm-newest peer
# What each lock file is made from, where that is not the .in file beside it alone.
FROM_runtime := pyproject.toml
FROM_dev := pyproject.toml --extra test requirements/dev.in
# Two processes of tests, each with a stack of its own; a file's tests stay together, in order.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
MODULES := dashboard dev/browser dev/litellm dev/supabase tests/compat

.PHONY: help setup run story check lint test bench screenshots lock litellm-newest venv

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: venv ## install everything that the stack and the tests need
	@$(PYTHON) -m dev setup

run: setup ## start the whole stack, play the story, serve until Ctrl-C
	@$(PYTHON) -m dev run

story: setup ## start the stack, play the story, stop; fails unless every step held
	@$(PYTHON) -m dev story

check: setup lint ## linters, types, unit and SQL tests: what one runs while writing
	$(PYTHON) -m pytest tests/unit tests/sql $(SIDE_BY_SIDE) --quiet

test: venv ## every check and test, on real parts; LONG=1 for the long modes
	@$(PYTHON) -m dev setup --all
	@$(MAKE) --no-print-directory lint
	$(PYTHON) -m pytest $(SIDE_BY_SIDE) $(if $(LONG),-o timeout=3600 --durations=60)

lint: venv
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

bench: setup ## measure the speed, each figure beside its limit (under 20 minutes); QUICK=1 for a look
	@$(PYTHON) -m bench

screenshots: setup ## take the documents' pictures of the dashboard anew
	@$(PYTHON) -m dev.screenshots

# The stamp holds the hash of what is installed, so a .venv from an older checkout is brought up to date.
venv:
	@wanted=$$(cksum < $(REQUIREMENTS)); \
	if [ "$$(cat .venv/.installed 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	python=; \
	for name in python3.13 python3.12 python3.11 python3 python; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: Python 3.11 or newer (with its venv module) was not found on PATH" >&2; exit 1; \
	fi; \
	began=$$(date +%s); \
	echo "installing the Python packages into .venv …"; \
	if [ -x $(PYTHON) ] && $(PYTHON) -c 'import pip' 2>/dev/null; then :; else $$python -m venv --clear .venv; fi && \
	$(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps -r $(REQUIREMENTS) && \
	echo "$$wanted" > .venv/.installed && \
	echo "  done in $$(( $$(date +%s) - began )) s"

lock: venv ## bring the lock files up to pyproject.toml, their .in and package.json; UPGRADE=1 for the newest versions
	@$(PYTHON) -m venv .stack/uv && .stack/uv/bin/python -m pip install --quiet --quiet --disable-pip-version-check uv==0.13.9
	@set -e; $(foreach name,$(LOCKED),echo "locking requirements/$(name).txt"; \
	  .stack/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) \
	    $(or $(FROM_$(name)),requirements/$(name).in) -o requirements/$(name).txt;)
	@for folder in $(MODULES); do \
	  echo "locking $$folder"; \
	  (cd $$folder && PATH="$(CURDIR)/.venv/bin:$$PATH" npm install --package-lock-only --ignore-scripts \
	    --no-audit --no-fund --loglevel=error) || exit 1; \
	done

# A release is not installable where one of its packages is missing from the registry; uv then takes the one before.
litellm-newest: ## move the second LiteLLM lock to the newest release whose proxy installs whole
	@$(MAKE) lock LOCKED=litellm-newest MODULES= UPGRADE=1
	@grep '^litellm==' requirements/litellm-newest.txt
