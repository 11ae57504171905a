# Two commands are all a newcomer needs: `make demo` and `make test`.
# Both prepare their own virtual environment first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo docs test test-slow check format clean

# The stamp is as new as pyproject.toml, so a changed dependency reinstalls.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "mezzotint needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
# The metrics' oracles, without what they depend on: torchvision cannot be imported beside the CPU
# build of torch, and libraries that find it installed try to. The tests load them in parts.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		torch-fidelity==0.4.0 pytorch-fid==0.3.0
	@touch $@

demo: .venv/ready
	$(BIN)/mezzotint reproduce --scale glyphs --only C --out runs/demo

# No network, no warning. The variable silences an advertisement of Material's.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html; to search in it too, run: $(PYTHON) -m http.server --directory site"

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One process a core: the networks of the tests are too small for a second thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test: check
	$(PYTEST)

test-slow: check
	$(PYTEST) -m slow

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist site runs/demo
