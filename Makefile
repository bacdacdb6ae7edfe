# Carnet: `make demo` and `make test` need git, python3 (3.11 or newer) and make, and do all the set-up themselves.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: demo test nightly coverage check bench help run-set test-set bench-set

demo: run-set            ## a car, an agent, a broker, a receiver and two recipients on this machine
	@$(BIN)/carnet-sim demo $(ARGS)

test: test-set           ## all tests, on up to four cores; the table at the end names the real parts that took part
	@$(PYTHON) tools/debian.py
	@$(BIN)/python -m pytest -n auto $(ARGS)

nightly: test-set        ## hours: all parts that docs/nightly.md tells, or those of them that ARGS names (docs/nightly.md)
	@$(BIN)/python -m tests.nightly $(ARGS)

coverage: test-set       ## lines and branches that tests run, beside what is promised; about twice as long as the tests alone
	@$(BIN)/python tools/cover.py $(ARGS)

check: test-set          ## style, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: bench-set         ## every figure of docs/benchmarks.md
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

help:                    ## this list; `make test ARGS="tests/cloud -q"` hands ARGS to the program
	@sed -n 's/^\([a-z]*\):[a-z -]*## /\1\t/p' Makefile

run-set:
	@$(PYTHON) tools/boot.py run

test-set:
	@$(PYTHON) tools/boot.py test

# Without its rivals a bench says which of them is missing and measures the others.
bench-set:
	@$(PYTHON) tools/boot.py bench || $(PYTHON) tools/boot.py test
