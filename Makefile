# make run: install what is needed and run the main job on the waves in data/raw/waves. make test: all tests.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)

.PHONY: run test lint bench ui lab notebooks clean requirements

run: $(VENV)/installed
	$(BIN)/perception run

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/intake.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/drivers.py

ui: $(VENV)/installed
	$(BIN)/perception ui

# The notebooks in JupyterLab, which is installed into .venv and would first ask whether it may fetch news.
lab: $(VENV)/installed-lab
	$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements"
	$(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir notebooks

# Runs all notebooks and keeps their outputs, which are committed: on the sample waves only.
notebooks: $(VENV)/installed-dev
	$(BIN)/python notebooks/make.py

clean:
	rm -rf $(VENV) data/processed

$(VENV)/bin/python:
ifdef UV
	uv venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

$(VENV)/installed: requirements.txt pyproject.toml | $(VENV)/bin/python
ifdef UV
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.txt
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -e .
else
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
endif
	touch $@

$(VENV)/installed-%: requirements-%.txt $(VENV)/installed
ifdef UV
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $<
else
	$(BIN)/python -m pip install --quiet --require-hashes -r $<
endif
	touch $@

# Pins anew from pyproject.toml (needs uv): versions and hashes only.
requirements:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate \
	    pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate \
	    pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate \
	    pyproject.toml --group lab -c requirements-dev.txt -o requirements-lab.txt
