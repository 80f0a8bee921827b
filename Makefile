# Every target sets up what it needs first (tools/bootstrap.py); nothing else has to be prepared.
PYTHON ?= python3
BIN := .venv/bin
FAST := -n 3 --dist worksteal -m "not sandbox and not kind and not slow"

.DEFAULT_GOAL := help
.PHONY: help bootstrap run test test-fast lint check bench soak conformance lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

bootstrap: ## set up system tools, uv and .venv (quick when nothing changed)
	@$(PYTHON) tools/bootstrap.py

run: bootstrap ## set everything up, run the quickstart campaign, say where the report is
	@$(BIN)/mutineer quickstart

test: bootstrap ## all tests, with the real binaries: first those that need no cluster, side by side
	@$(BIN)/mutineer assets ensure
	@$(BIN)/pytest $(FAST)
	@$(BIN)/pytest --durations=40 -m "sandbox or kind or slow"

test-fast: bootstrap ## the tests that need no cluster and take seconds
	@$(BIN)/pytest $(FAST)

lint: bootstrap ## static checks: ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint ## static checks, then all tests with branch coverage
	@$(BIN)/mutineer assets ensure
	@$(BIN)/pytest $(addprefix --cov=,injector campaigns classifiers failure_db mutineer) --cov-branch --cov-report=term-missing:skip-covered

bench: bootstrap ## every benchmark; prints figures with the machine's core count
	@$(BIN)/mutineer assets ensure
	@$(BIN)/python -m benchmarks

soak: bootstrap ## the long robustness tests; resumable
	@$(BIN)/mutineer assets ensure
	@$(BIN)/python -m tests.soak

conformance: bootstrap ## upstream's e2e suite against the sandbox, resumable; writes docs/conformance.md
	@$(BIN)/mutineer assets ensure
	@$(BIN)/python -m tests.conformance --resume $(if $(FOCUS),--focus '$(FOCUS)')

lock: ## write requirements.lock anew from pyproject.toml (UPGRADE=1: with the newest versions)
	@uv="$$($(PYTHON) tools/bootstrap.py --uv)" && "$$uv" pip compile --quiet --universal --generate-hashes --all-extras \
		--group dev --no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml
