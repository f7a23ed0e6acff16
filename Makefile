# For users: `make study`, `make report` for its page, and `make test`. `make check` is lint and types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: study report test check clean
.DELETE_ON_ERROR:

study: $(VENV)/.installed
	$(BIN)/landscape study digits

report: $(VENV)/.installed
	$(BIN)/landscape report runs/digits -o runs/digits/report.html

test: $(VENV)/.installed-test
# a process for each core, each with one thread: small networks gain nothing from a second
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed benchmarks/requirements.txt
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --no-deps --requirement benchmarks/requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
