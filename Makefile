# The environment is .venv; PYTHON picks the interpreter (3.10 to 3.12) that makes it.
PYTHON ?= python3
BIN = .venv/bin
COMPILED = hatch_build.py flag3d_exp/models/kernels/onednn.cc

.PHONY: demo coverage ui install test check docs clean

demo: .venv/installed  ## install, train on the embedded synthetic data, say how to browse the run
	$(BIN)/python -m flag3d_exp task.epochs=12 task.eval_every=3

ui: .venv/installed  ## the runs of this folder in the browser
	@echo "once it is up, open http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db

install: .venv/installed-dev  ## the environment with the tools of development

test: .venv/installed-dev check  ## everything that CI runs
	$(BIN)/python -m pytest -n logical --dist worksteal

coverage: .venv/installed-dev  ## the tests again, and which lines of the package they ran
	$(BIN)/python -m pytest -n logical --dist worksteal --cov --cov-report=term \
		--deselect tests/tasks/test_full_disk.py  # on a full disk coverage, too, fails to write

check: .venv/installed-dev  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: .venv/installed-dev  ## the site, to be opened at docs/_build/html/index.html
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12) and 'Python 3.10 to 3.12 is needed: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt $(COMPILED)
	@echo "installing into .venv, which takes minutes ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt $(COMPILED)
	@echo "installing into .venv, which takes minutes ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ .venv/installed
