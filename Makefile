# The project's commands. `make help` lists them; each comment after ## is its description.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Each stamp is newer than what it was made from, so a second run has nothing to do.
VENV := .venv/.made
RUNTIME := .venv/.runtime-installed
PACKAGE := .venv/.package-installed
DEV := .venv/.dev-installed

# --- using it -------------------------------------------------------------------------------

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z_-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: $(PACKAGE) ## Retract from a local tenant, once; own mail: make demo MAIL=folder FEEDS="urls.txt …"
	@$(BIN)/python -m local_system demo $(if $(MAIL),--mail "$(MAIL)") $(foreach feed,$(FEEDS),--feeds "$(feed)")

.PHONY: up
up: $(PACKAGE) ## Start Airflow and the local tenant on 127.0.0.1 (PORT=8080), and leave them running
	@$(BIN)/python -m local_system up $(if $(PORT),--port $(PORT))

# Installs nothing: a newer requirements file must not change what is still running.
.PHONY: down
down: ## End what `make up` started
	@if [ -e $(PACKAGE) ]; then $(BIN)/python -m local_system down; else echo "Nothing is running."; fi

.PHONY: install
install: $(PACKAGE) ## Make .venv with the pinned requirements (PYTHON=… chooses the interpreter)

# --- checking it ----------------------------------------------------------------------------

.PHONY: test
test: lint types floors ## Run all checks and all tests (PYTEST_ARGS="-k …" narrows them)
	@$(call pytest,-m "not end_to_end and not official_clients" -n 2)
	@$(call pytest,-m end_to_end)

.PHONY: test-clients
test-clients: $(DEV) ## Let clients of Microsoft Graph that others wrote use the local tenant
	@$(call pytest,-m official_clients)

.PHONY: fuzz
fuzz: $(DEV) ## Give every parser damaged input (SECONDS=60), and count it
	@$(BIN)/python -m tests.fuzz.fuzzer $(if $(SECONDS),--seconds "$(SECONDS)") --seed "$$RANDOM"

.PHONY: lint
lint: $(DEV) ## Check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: format
format: $(DEV) ## Mend style and formatting where that can be done by machine
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: types
types: $(DEV) ## Check types
	@$(BIN)/mypy

.PHONY: floors
floors: $(DEV) ## Check that imports only go down (the floors in docs/architecture.md)
	@$(BIN)/lint-imports --no-cache --no-logo

.PHONY: bench
bench: $(DEV) ## Measure: extraction, URLs, feeds, layout, matching, retractions, whole runs
	@for benchmark in benchmarks/[a-z]*.py; do $(BIN)/python "$$benchmark"; done

# --- keeping it -----------------------------------------------------------------------------

.PHONY: requirements
requirements: $(DEV) ## Compile the pinned requirements*.txt (UPGRADE=1 takes the newest versions)
	@compile() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) \
	    --custom-compile-command "make requirements" "$$@"; }; \
	compile requirements.in -o requirements.txt; \
	compile requirements-dev.in -c requirements.txt -o requirements-dev.txt; \
	compile requirements-production.in -c requirements.txt -o requirements-production.txt; \
	compile tests/official_clients/requirements.in -o tests/official_clients/requirements.txt

.PHONY: clean
clean: ## Delete .venv, var/ and the tools' caches (`make down` first)
	@rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf plugins/*.egg-info include/*.egg-info *.egg-info build
	@find dags plugins include tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Those that need the machine's cores for themselves run after all others. pytest ends with 5 when
# the arguments leave no test in one of the two.
define pytest
$(BIN)/pytest $(1) $(PYTEST_ARGS) || { code=$$?; test -n "$(PYTEST_ARGS)" -a $$code -eq 5; }
endef

# --- the virtual environment ----------------------------------------------------------------

# Tried by running them: a pyenv shim is on the PATH even when it leads nowhere.
define find_python
for candidate in $(or $(PYTHON),python3.11 python3.12); do \
    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
        >/dev/null 2>&1; then found="$$candidate"; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
    echo "No usable Python: $(or $(PYTHON),python3.11 or python3.12) is missing, of another version, or without venv." >&2; \
    echo "Install Python 3.11 (Debian: python3.11 and python3.11-venv), or name one: make PYTHON=/path/to/python3.11 …" >&2; \
    exit 1; \
fi
endef

# Names each package as it is fetched: one changing line on a terminal, few lines in a log.
# pip's warnings are shown only when it fails.
define pip_install
$(BIN)/pip install --no-deps --disable-pip-version-check --progress-bar off -r $(1) \
    2>.venv/pip.log | awk -v terminal="$$(if [ -t 1 ]; then echo 1; else echo 0; fi)" -v total="$$(grep -cE '^[a-zA-Z]' $(1))" '\
    /^(Collecting|Requirement already satisfied:) / { n++; sub(/^(Collecting|.*satisfied:) /, ""); \
                     if (terminal) printf "\r  %d of %d  %-60.60s", n, total, $$1; \
                     else if (n % 50 == 0) printf "  %d of %d\n", n, total; fflush() } \
    /^Installing collected/ { printf (terminal ? "\r%-80s" : "%s\n"), "  unpacking them"; fflush() } \
    END { if (terminal) printf "\r%-80s\r", "" }' \
|| { cat .venv/pip.log >&2; exit 1; }
endef

$(VENV):
	@$(find_python); \
	echo "Making .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv
	@touch $@

# The requirements files are complete, so pip need not resolve anything: --no-deps.
$(RUNTIME): $(VENV) requirements.txt
	@echo "Installing the pinned requirements into .venv (a few minutes, the first time only)"
	@$(call pip_install,requirements.txt)
	@touch $@

# Editable: `retract` and `local_tenant` import from anywhere, and edits count at once.
$(PACKAGE): $(RUNTIME) pyproject.toml
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check -e .
	@touch $@

$(DEV): $(PACKAGE) requirements-dev.txt
	@echo "Installing the tools of the checks into .venv"
	@$(call pip_install,requirements-dev.txt)
	@touch $@
