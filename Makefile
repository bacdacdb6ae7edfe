# Carnet: `make demo`, `make test`. Everything else is for those who work on it.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: demo test check bench run-env test-env

demo: run-env            ## a car, an agent, a broker, a receiver and two recipients on this machine
	@$(BIN)/carnet-sim demo $(ARGS)

test: test-env           ## all tests; the table at the end names the real parts that took part
	@$(PYTHON) tools/packages.py
	@$(BIN)/python -m pytest -q $(ARGS)

check: test-env          ## style, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy carnet agent/carnet_agent cloud/carnet_cloud simulator/carnet_simulator tools bench
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: test-env          ## every figure of docs/benchmarks.md
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS) || exit 1; done

run-env:
	@$(PYTHON) tools/boot.py run

test-env:
	@$(PYTHON) tools/boot.py test
