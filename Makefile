# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo test check soak bench docs lock clean

help:
	@echo "make demo [ARGS=...]  run the demonstration: a utility, 153 gateways, 153 inverters on a power flow"
	@echo "make test             everything that must hold before a change lands"
	@echo "make check            its fast part: format, lint, types, imports, docs, unit and property tests"
	@echo "make soak             the large counts: seeds, kills"
	@echo "make bench            measurements, as ratios to a reference in the same run"
	@echo "make docs             regenerate docs/reference"
	@echo "make lock             renew the hash-locked requirements (needs uv)"

$(VENV)/run.stamp: requirements/run.lock pyproject.toml
	$(PYTHON) tools/make_venv.py $(VENV) requirements/run.lock
	@touch $@

$(VENV)/test.stamp: requirements/test.lock pyproject.toml
	$(PYTHON) tools/make_venv.py $(VENV) requirements/test.lock
	@touch $@ $(VENV)/run.stamp

demo: $(VENV)/run.stamp
	@$(BIN)/python tools/run_demo.py $(ARGS)

test: $(VENV)/test.stamp
	@$(BIN)/python tools/run_checks.py test

check: $(VENV)/test.stamp
	@$(BIN)/python tools/run_checks.py check

soak: $(VENV)/test.stamp
	@$(BIN)/python tools/run_checks.py soak

bench: $(VENV)/test.stamp
	@$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/test.stamp
	$(BIN)/python tools/make_docs.py

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra demo --group test -o requirements/test.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra demo -c requirements/test.lock -o requirements/run.lock

clean:
	rm -rf $(VENV) build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
