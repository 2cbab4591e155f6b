# Everything that a person or a machine does with this tree. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo check test chaos bench docs lock down clean

# Passed on to the set-up and to the demo: S3=1, POSTGRES=1.
export S3 POSTGRES

python := .venv/bin/python
# Three processes on two cores, each with services of its own: tests wait a quarter of their time. A group of tests that
# shares some stays together.
PYTEST_ARGS ?= -n 3 --dist loadgroup
# Tests start hundreds of workers and commands: none compiles again what another one did, whatever the environment says.
compiled = PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.local/compiled
# The index that made the locks is nobody's business: neither its name nor its host is written.
compile = .venv/bin/uv pip compile pyproject.toml -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header $(if $(UPGRADE),--upgrade)

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing to run Leveret (S3=1 and POSTGRES=1 add those servers)
	@infra/setup run

demo: setup ## the main job, live, from nothing (S3=1, POSTGRES=1)
	@$(python) -m infra.demo

check: ## format, lint, types, import contracts
	@infra/setup check
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

test: ## every test, against the real services, which it starts itself
	@infra/setup test
	$(compiled) $(python) -m pytest $(PYTEST_ARGS)

chaos: ## faults injected into a fleet at work, and counted (N=300 jobs, SEED=…)
	@infra/setup test
	$(python) -m tests.chaos N=$(or $(N),300) SEED=$(SEED)

bench: ## the tables of docs/explanation/performance.md
	@infra/setup test
	$(python) -m benchmarks

docs: ## write the reference pages anew, from the code
	@infra/setup check
	$(python) docs/generate.py

lock: ## write the requirements files anew (UPGRADE=1 takes newer releases)
	@# No set-up while there is uv: it fails where the project needs what no lock has yet.
	@[ -x .venv/bin/uv ] || infra/setup check
	$(compile) --group dev -o requirements-dev.txt
	$(compile) --group build -c requirements-dev.txt -o requirements.txt
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --group s3 -c requirements-dev.txt -o requirements-s3.txt
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --group assets -o requirements-assets.txt

down: ## end the private services
	@$(python) -m infra down

clean: ## end the private services; remove their data, .venv and every cache
	@if [ -x $(python) ]; then $(python) -m infra down --purge; fi
	@echo "removed: .venv, .local (with all that was left there) and the caches"
	rm -rf .venv .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
