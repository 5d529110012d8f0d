.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run report serve test-fast test test-all fuzz coverage lint lines audit compare docs ci \
	setup setup-dev lock clean distclean

PYTHON := .venv/bin/python
# Options of the run, e.g. make run ARGS="--dataset sample --epochs 3"
ARGS ?=
# loadgroup: tests that share a costly fixture name a group and stay on one worker.
PYTEST_ARGS ?= -n 2 --dist loadgroup
COVERAGE = $(foreach part,$(PACKAGES),--cov $(part)) --cov-report term --cov-report html
PACKAGES = components metrics pipeline schema serving sources storage trainer transform
PRODUCT = pipeline components metrics sources storage transform trainer schema serving local_runner.py \
	setup.py
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

report: setup ## regenerate the latest run's report and open it, or print where it is (options: ARGS="...")
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

coverage: setup-dev ## line coverage of the tests, in the terminal and in htmlcov/ (PYTEST_ARGS="...")
	$(PYTHON) -m pytest --tier standard $(PYTEST_ARGS) $(COVERAGE)

lines: ## count the physical lines of the product's Python files
	@for part in $(PRODUCT); do \
		printf '%7d %s\n' "$$(find $$part -name '*.py' -exec cat {} + | wc -l)" $$part; \
	done | awk '{ print; total += $$1 } END { printf "%7d total\n", total }'

audit: setup-dev ## look up known vulnerabilities of the locked packages (a network; ARGS="...")
	@$(PYTHON) requirements/audit.py $(ARGS)

compare: setup ## measure baselines and ours, write docs/results.md (an hour; ARGS="--dataset ml-1m": 4)
	@sh requirements/setup_extra.sh compare
	@$(PYTHON) -m benchmarks.compare $(ARGS)

docs: ## build the documentation as a site that works offline, site/index.html; broken links fail
	@sh requirements/setup_extra.sh docs
	@.venv-docs/bin/python -m mkdocs build --quiet --strict $(ARGS)
	@! grep -rn --include='*.html' -E '<(script|img|link)[^>]+(src|href)="?https?:' site || \
		{ echo "These pages load something from the network."; exit 1; }
	@echo "file://$(CURDIR)/site/index.html"

ci: ## what CI runs: set-up, lint, every test, and the pipeline twice where there is MOVIELENS_DIR
	@bash tests/ci.sh

setup: ## make .venv with what a run needs
	@sh requirements/setup_env.sh runtime

setup-dev: ## make .venv with what the tests need as well
	@sh requirements/setup_env.sh dev

lock: ## regenerate requirements/*.txt from requirements/*.in
	sh requirements/lock.sh

clean: ## remove caches and built packages (keeps .venv and output)
	rm -rf build dist site htmlcov .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . \( -name '.venv*' -o -name .git -o -name output \) -prune -o \
		-name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## clean, and remove .venv, .venv-compare and .venv-docs
	rm -rf .venv .venv-compare .venv-docs
