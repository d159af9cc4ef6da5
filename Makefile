# Everything a checkout can do. Needs python3 (3.11 or newer, with venv) and make.
# Empty: the one of the distribution if it will do, else what is called python3 (tools/venv).
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := domain streams api countermand_client countermand_testing
# -n auto and the like: make test PYTEST_ARGS="-n 2 -k jobs"
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help .venv demo test kafka lint secrets format bench proof chaos serve lock audit sbom clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Always asked: make cannot see that another Python is named. It is done at once if nothing changed.
.venv: ## Make the virtual environment (again when the lock or PYTHON changed)
	@tools/venv "$(PYTHON)" "$(VENV)"

demo: .venv ## Run the guided demonstration
	$(BIN)/countermand demo

test: .venv ## Run the tests (names each missing service first)
	@$(BIN)/python tools/services
	$(BIN)/python -m pytest $(PYTEST_ARGS)

kafka: .venv ## Fetch the Kafka that the tests start (Java 17 or newer, Maven)
	@tools/kafka
	@$(BIN)/python -m tests.services.kafka_classes

lint: .venv ## Check style, types and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(addprefix -p ,$(PACKAGES))
	$(BIN)/lint-imports --no-cache --no-logo

# Without a network: nothing is asked whether it is valid, or of a newer release of the scanner.
secrets: .venv ## Look for secrets in what is here and in no ignored file
	@$(BIN)/python tools/secrets

format: .venv ## Rewrite the code the way `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv ## Run the benchmarks
	$(BIN)/python -m benchmarks

proof: .venv ## Run the long proofs and write docs/proof.md
	$(BIN)/python -m tests.proof

CHAOS := kills rolling-restart deaths database-away brokers-away way-to-brokers messages walk
chaos: .venv ## Break the scaled engine in every way, for about an hour (CHAOS_ARGS="--seed 7")
	$(BIN)/python -m tests.proof $(addprefix --only chaos-,$(CHAOS)) --report build/chaos.md $(CHAOS_ARGS)

serve: .venv ## Serve the API on ./data
	$(BIN)/countermand serve --data-dir ./data

# Ranges live in pyproject.toml and requirements/dev.in; the locks pin them with hashes for
# every Python from 3.11 on. No index address is written: the installer's own settings decide.
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

lock: .venv ## Write the locks again (UPGRADE=--upgrade takes newer releases)
	$(UV_COMPILE) $(UPGRADE) pyproject.toml --extra postgresql -o requirements/runtime.txt
	$(UV_COMPILE) $(UPGRADE) pyproject.toml requirements/dev.in \
		--extra postgresql --extra bench --extra tracing \
		-c requirements/runtime.txt -o requirements/dev.txt
	$(UV_COMPILE) $(UPGRADE) pyproject.toml --extra postgresql --extra peers \
		-c requirements/dev.txt -o requirements/peers.txt
	$(UV_COMPILE) requirements/build.in -c requirements/dev.txt -o requirements/build.txt

sbom: .venv ## List what the locks pin, as CycloneDX (build/sbom)
	$(BIN)/python tools/sbom

audit: .venv ## Look the locked packages up among known vulnerabilities (says when it cannot)
	@$(BIN)/python tools/audit

clean: ## Remove what make and the tools wrote (not ./data)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
