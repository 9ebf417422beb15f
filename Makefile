# Everything a developer types; 'make' alone lists it. Each target installs what it needs into .venv first.

VENV := .venv
PYTHON := $(VENV)/bin/python
# Python 3.12 and 3.11 first: for them every dependency comes as a wheel, the Redis server included.
CANDIDATES := python3.12 python3.11 python3.13 python3

.DEFAULT_GOAL := help
.PHONY: help demo up tools test long longest chaos books fuzz docs check bench migrate clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-9s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed ## Three simulated cameras through the whole system: table, report, price, picture
	$(VENV)/bin/gistline demo

up: $(VENV)/.installed ## Servers, API and workers on this machine, until Ctrl-C
	$(VENV)/bin/gistline up

tools: ## What some tests need beside Python, from Debian: a browser, an MQTT broker, Prometheus (as root; without them those tests skip)
	@command -v chromium >/dev/null && command -v mosquitto >/dev/null && command -v promtool >/dev/null || \
	  (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium mosquitto prometheus >/dev/null)

test: $(VENV)/.installed-dev ## The tests, against a real PostgreSQL, a real Redis and real workers
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile

long: $(VENV)/.installed-dev ## The tests that 'make test' leaves out to stay short; continuous integration runs both
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile -m long

longest: $(VENV)/.installed-dev ## Six that take longer still
	$(PYTHON) -m pytest -m longest

chaos: $(VENV)/.installed-dev ## Whole systems under seeded faults, nothing lost or doubled: SEED=7, or SEEDS=1-20
	$(PYTHON) -m tests.chaos --seeds $(or $(SEED),$(SEEDS),1-20)

books: $(VENV)/.installed-dev ## Ledger against the provider's books, every fault switched on, workers killed: SEED=7, or SEEDS=1-20
	$(PYTHON) -m tests.books --seeds $(or $(SEED),$(SEEDS),1-3)

check: $(VENV)/.installed-dev ## Style, types, import contracts, caps, migrations against tables, the compose file
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PYTHON) -m tests.support.caps
	$(PYTHON) -m tests.support.schema
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml

fuzz: $(VENV)/.installed-dev ## The API against made-up requests, by its own description: EXAMPLES=200 a route and check
	FUZZ_EXAMPLES=$(or $(EXAMPLES),200) $(PYTHON) -m pytest tests/integration/test_api_fuzz.py -q -s --timeout 3600

docs: $(VENV)/.installed-dev ## Write the parts of docs/ that the program itself makes
	$(PYTHON) -m tests.support.reference

bench: $(VENV)/.installed-dev ## The README's numbers, measured here
	$(PYTHON) -m benchmarks

migrate: $(VENV)/.installed ## Bring the database's tables to this version
	$(VENV)/bin/gistline db upgrade

clean: ## Remove .venv, caches and build output; data in .data stay
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PYTHON) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/bin/python:
	@for candidate in $(CANDIDATES); do \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$candidate cannot make a virtual environment. Install its venv package ('apt install $$candidate-venv')." >&2; \
	    continue; \
	  fi; \
	  echo "Making $(VENV) with $$candidate"; \
	  exec "$$candidate" -m venv $(VENV); \
	done; \
	echo "No usable Python 3.11 or later among: $(CANDIDATES). Install one, such as 'apt install python3 python3-venv'." >&2; \
	exit 1
