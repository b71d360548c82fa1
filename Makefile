# `make run` starts the MTA, `make test` runs the suite; both set up .venv first, and later calls do so offline.

PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= etc/mta.toml
TESTS  ?= tests
JOBS   ?= 2
# Of the benchmark: which rows (all), and whether a tenth of it will do.
ROWS  ?=
QUICK ?=
# Of a crash campaign: how often the daemon is killed.
KILLS  ?= 40
# Worker processes of the daemon in a crash campaign.
WORKERS ?= 1
# Of fuzzing: for each target; inputs at most, 0 for any number; which of them; of the search; where inputs that reach
# new code are kept, if anywhere.
SECONDS ?= 60
RUNS    ?= 0
TARGETS ?=
SEED    ?= 1
KEEP    ?= var/fuzz
# Of the swarm: how many worlds.
SEEDS   ?= 300

BIN     := $(VENV)/bin
# compat: the plain editable install of a flat layout hides twistd's plugin outside the checkout.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat
INPUTS  := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test lint types check docs bench crash overload swarm mutants fuzz constraints clean

help: ## Show the targets.
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/.ready-run ## Start the MTA: SMTP on 127.0.0.1:2525, state under var/.
	$(BIN)/twistd --nodaemon --pidfile= mta --config $(CONFIG)

test: $(VENV)/.ready-test ## Run the test suite.
	$(BIN)/python -m twisted.trial -j$(JOBS) $(TESTS)

lint: $(VENV)/.ready-lint ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-lint
	$(BIN)/mypy

check: lint types ## Lint, and check the types.

docs: $(VENV)/.ready-test ## Render the sample configuration and the generated documentation anew.
	$(BIN)/python -m mta.config.rendering
	$(BIN)/python -c 'from mta.smtp.replies import render; print(render(), end="")' > docs/replies.md
	$(BIN)/python -m mta.cli.eventpage > docs/events.md
	$(BIN)/python -m mta.cli.filterpage
	$(BIN)/python -m mta.message.dsn_samples > docs/dsn.md
	$(BIN)/python -m mta.sim.page
	$(BIN)/python -m tests.real_peers.page > docs/peers.md

bench: $(VENV)/.ready-run ## Measure beside Postfix (needs Debian's postfix package): ROWS=relay,latency QUICK=1 for parts.
	$(BIN)/python -m bench $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick)

crash: $(VENV)/.ready-test ## Kill the daemon (WORKERS=1) KILLS=40 times under load: nothing acknowledged may be lost.
	$(BIN)/python -m tests.campaigns.crash --kills $(KILLS) --seed $(SEED) --workers $(WORKERS)

overload: $(VENV)/.ready-test ## Idle, slow, hasty and greedy clients: the figures of docs/limits.md.
	$(BIN)/python -m bench.overload

fuzz: $(VENV)/.ready-fuzz ## Look for input that breaks a property: SECONDS=60 for each target.
	$(BIN)/python -m fuzz run --seconds $(SECONDS) --runs $(RUNS) --seed $(SEED) --jobs $(JOBS) $(if $(KEEP),--keep $(KEEP)) $(TARGETS)

swarm: $(VENV)/.ready-test ## Run SEEDS=300 random worlds in the simulator: no invariant may break.
	$(BIN)/python -m tests.campaigns.swarm --seeds $(SEEDS) 2>/dev/null

mutants: $(VENV)/.ready-test ## Break the program on purpose: the swarm must find each fault.
	$(BIN)/python -m tests.campaigns.swarm --mutants 2>/dev/null

constraints: $(VENV)/.ready-lint $(VENV)/.ready-fuzz ## Pin the versions that are installed now.
	{ sed -n '/^#/p;/^[^#]/q' constraints.txt; $(BIN)/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

clean: ## Remove the environment and what tests leave behind; var/ stays.
	rm -rf $(VENV) _trial_temp* build *.egg-info .mypy_cache .ruff_cache .hypothesis

# A bare Debian has python3 without the part that makes environments.
$(VENV)/.made:
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    echo "make: Python 3.11 or newer is needed; say which with PYTHON=..." >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv; \
	    else \
	        echo "make: python3 cannot make an environment here; type: sudo apt-get install python3-venv" >&2; exit 1; \
	    fi; fi
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready-run: $(VENV)/.made $(INPUTS)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready-run
	$(INSTALL) -e '.[test]'
	@touch $@

# With the test extra: the type checker reads the tests, too.
$(VENV)/.ready-lint: $(VENV)/.ready-test
	$(INSTALL) -e '.[test,lint]'
	@touch $@

# With the test extra: the targets use the fakes of the suite.
$(VENV)/.ready-fuzz: $(VENV)/.ready-test
	$(INSTALL) -e '.[test,fuzz]'
	@touch $@
