# Two commands: `make leaderboard` (the main job) and `make test`. Both set up .venv on first use. `make quick` is for every day.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_WAIT_POLICY ?= passive
# Without cached bytecode every process would compile torch and its friends again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: leaderboard tables test quick slow durations lint docs clean help

help:
	@echo "make leaderboard  set up and run every method on the embedded benchmark"
	@echo "make tables       write the committed tables anew from their data; STORE=runs: from a store"
	@echo "make docs         build the documentation site into build/site"
	@echo "make test         set up, lint, type-check, check imports, run the tests of all tiers but slow"
	@echo "make quick        the same with the fast tier alone: units and contracts"
	@echo "make slow         the tests that take minutes each, and nothing else"
	@echo "make durations    make test, and write docs/results/test-durations.md anew"

leaderboard: $(STAMP)
	$(BIN)/harness run --methods all --missing 0.2,0.4,0.6,0.8

LEADERBOARD := leaderboards/iu-phantom

tables: $(STAMP)
ifdef STORE
	$(BIN)/harness leaderboard --store $(STORE) --format json > $(LEADERBOARD).json.new
	mv $(LEADERBOARD).json.new $(LEADERBOARD).json
endif
	$(BIN)/harness leaderboard --results $(LEADERBOARD).json --format markdown > $(LEADERBOARD).md.new
	mv $(LEADERBOARD).md.new $(LEADERBOARD).md
	$(BIN)/harness papers all --results $(LEADERBOARD).json --out reports

# A process that runs out of tests takes half of those that another has left.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal

test: $(STAMP)
	$(call checked,$(PYTEST))

quick: $(STAMP)
	$(call checked,$(PYTEST) -m fast)

slow: $(STAMP)
	$(PYTEST) -m slow

durations:
	TEST_DURATIONS=docs/results/test-durations.md $(MAKE) test

# Style comes first: it takes seconds. Types and imports take one core for a minute: they are checked beside the
# tests, and their output comes last.
define checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@output=$$(mktemp); { $(BIN)/mypy && $(BIN)/lint-imports; } >"$$output" 2>&1 & types=$$!; \
	echo '$(1)'; $(1); tests=$$?; \
	wait $$types; types=$$?; cat "$$output"; rm "$$output"; \
	test $$tests -eq 0 || echo 'The tests failed: their summary stands above.'; \
	test $$tests -eq 0 -a $$types -eq 0
endef

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMP): pyproject.toml constraints.txt overrides.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --override overrides.txt \
		--editable ".[run,clinical,images,calibration,ray,dev]"
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .cache build/site
