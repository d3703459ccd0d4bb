# The commands of the README. Everything runs in .venv, which `make` builds by itself.
VENV ?= .venv
export VENV
BIN := $(VENV)/bin
# Files of tests are shared between two workers; many of them wait for processes most of the time.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Two idle OpenMP threads that spin slow a busy machine down twentyfold.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help run test test-all test-long test-gpu lint types imports proto proto-check nightly constraints sbom docs docs-check env env-dev clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: env  ## the lab: daemons, baseline, six proposals; again: resumes. ARGS="--max-experiments 20 …"
	@$(BIN)/autoresearch run $(ARGS)

test: env-dev lint types imports proto-check docs-check  ## the quick check (at most ten minutes on two cores)
	$(PYTEST) -m "not long and not nightly and not docker"

test-all: test test-long  ## the whole check (at most thirty minutes on two cores); .ci/run calls it

test-long: env-dev
	$(PYTEST) -m "long and not nightly and not docker"

test-gpu: env-dev  ## what needs a CUDA device, one file after the other
	$(BIN)/python -m pytest -m gpu --timeout 900

nightly: env-dev  ## the hours-long loops
	$(PYTEST) -m "nightly" --timeout 28800

lint: env-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env-dev
	$(BIN)/mypy

imports: env-dev
	$(BIN)/lint-imports

proto: env-dev  ## generate the Python code of the protos
	.ci/proto-generate

proto-check: env-dev
	.ci/proto-check

docs: env-dev  ## regenerate the configuration and API reference
	$(BIN)/python .ci/reference.py

docs-check: env-dev
	$(BIN)/python .ci/reference.py --check

sbom: env-dev  ## bill of materials of all that a user installs (CycloneDX, dist/sbom.json)
	$(BIN)/python .ci/sbom.py dist/sbom.json

constraints:  ## resolve constraints.txt anew
	.ci/constraints

env:
	@.ci/environment lab

env-dev:
	@.ci/environment lab,dev,rtlsdr,postgres,minilm,anthropic,openai,gemini,mcp,otel

clean:  ## remove the environment and caches (never a lab or data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache build dist

.PHONY: compose-test
compose-test: env-dev  ## build the images and exercise the compose stack (needs a Docker engine)
	$(BIN)/python -m tests.compose.live --report docs/compose-test.txt $(ARGS)
