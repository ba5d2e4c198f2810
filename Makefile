# `make demo` and `make test` set up everything that they need; the other targets are for contributors.
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= runs/quickstart
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# a test file stays in one process, so that what it trains is trained once
PROCESSES ?= --numprocesses auto --dist loadfile

# Where Python may not keep what it compiled, each process compiles 6,000 modules anew, for 10 s and more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all lint bench gpu docs notebooks clean setup

demo: $(READY)  ## the main job on real text; ends with the path of the report
	@$(BIN)/universality run configs/quickstart.yaml --out $(OUT)

test: $(READY)
	@$(BIN)/python -m pytest $(PROCESSES)

test-all: $(READY)  ## the slow tests too
	@$(BIN)/python -m pytest $(PROCESSES) -m "slow or not slow"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy universality

bench: $(READY)  ## speed, memory and accuracy, each against an alternative in the same run
	@for script in tests/bench/*.py; do echo; echo "== $$script"; $(BIN)/python $$script || exit 1; done

gpu:  ## tests and tables of a CUDA card, with python3 as it is; see tests/gpu/run.sh
	@bash tests/gpu/run.sh

docs: $(READY)  ## the documentation, into site/index.html, to open from disk; a broken link fails
	@$(BIN)/python -m pip install --quiet --requirement docs/requirements.lock
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo site/index.html

notebooks: demo  ## run the notebooks of the documentation again, and save them with their outputs
	@$(BIN)/python tests/docs/notebooks.py docs/notebooks/*.ipynb

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@# of 22,000 modules a run imports a fifth, which Python compiles at first use; to compile all takes about 45 s
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) runs site .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
