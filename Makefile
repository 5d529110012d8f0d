.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run report serve test-fast test test-all fuzz lint audit compare setup setup-dev lock clean distclean

PYTHON := .venv/bin/python
# Options of the run, e.g. make run ARGS="--dataset sample --epochs 3"
ARGS ?=
# loadgroup: tests that share a costly fixture name a group and stay on one worker.
PYTEST_ARGS ?= -n 2 --dist loadgroup
# Minutes of make fuzz.
FUZZ_MINUTES ?= 30
define lint_and_test
$(LINT); lint=$$?; \
$(PYTHON) -m pytest --tier $(1) $(PYTEST_ARGS) || exit 1; \
[ $$lint -eq 0 ] || { echo "The tests passed; lint failed, see above."; exit 1; }
endef
LINT = $(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

run: setup ## set up what is missing, then run the pipeline (options: ARGS="...")
	@$(PYTHON) local_runner.py $(ARGS)

report: setup ## remake the latest run's report and open it, or print where it is (options: ARGS="...")
	@$(PYTHON) -m components.report --open $(ARGS)

serve: setup ## set up what is missing, then serve the pushed model (options: ARGS="...")
	@$(PYTHON) -m serving $(ARGS)

test-fast: setup-dev ## what needs no TensorFlow and no pipeline: a minute (options: PYTEST_ARGS="...")
	$(PYTHON) -m pytest --tier fast $(PYTEST_ARGS)

# Both always run, and pytest last: its summary is what one wants to see at the end.
test: setup-dev ## set up what is missing, then lint and test (options: PYTEST_ARGS="...")
	$(call lint_and_test,standard)

test-all: setup-dev ## test, and what takes longer: every kill point, real data, fresh environments
	$(call lint_and_test,all)

fuzz: setup-dev ## run the property tests on new random examples (FUZZ_MINUTES=30; PYTEST_ARGS="...")
	@$(PYTHON) tests/fuzz.py --minutes $(FUZZ_MINUTES) -- $(PYTEST_ARGS)

lint: setup-dev ## ruff (rules and format) and mypy
	$(LINT)

audit: setup-dev ## ask for known vulnerabilities of the locked packages (a network; ARGS="...")
	@$(PYTHON) requirements/audit.py $(ARGS)

compare: setup ## measure baselines and ours, write docs/results.md (an hour; ARGS="--dataset ml-1m": 4)
	@sh requirements/setup_compare.sh
	@$(PYTHON) -m benchmarks.compare $(ARGS)

setup: ## make .venv with what a run needs
	@sh requirements/setup_env.sh runtime

setup-dev: ## make .venv with what the tests need as well
	@sh requirements/setup_env.sh dev

lock: ## remake requirements/*.txt from requirements/*.in
	sh requirements/lock.sh

clean: ## remove caches and built packages (keeps .venv and output)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . \( -name '.venv*' -o -name .git -o -name output \) -prune -o \
		-name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## clean, and remove .venv and .venv-compare
	rm -rf .venv .venv-compare
