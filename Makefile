# Five words: demo, serve, test, check, bench. Each sets up what it needs, and nothing twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
CARGO_FLAGS := --manifest-path bindings/Cargo.toml --locked
WHEELS := bindings/target/wheels
BENCH_SITE := bindings/target/bench
BINDING_SOURCES := bindings/Cargo.toml bindings/Cargo.lock bindings/pyproject.toml bindings/src bindings/python

export UV_PYTHON_DOWNLOADS := never
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

# What `manage.py check --deploy` looks at: a configuration as an operator would write it.
PRODUCTION := env -u JWT_SECRET CATBIRD_ENV=production \
	DATABASE_URL=postgresql://catbird:changeme@database.invalid:5432/catbird \
	REDIS_URL=redis://:changeme@redis.invalid:6379/0 \
	SERVICE_DID=did:web:mls.example.org \
	CATBIRD_SECRET_KEY=a-long-and-random-looking-value-for-checking-0123456789 \
	CATBIRD_MESSAGE_TAG_KEY=another-long-and-random-looking-value-for-checking-01234 \
	CATBIRD_EXTERNAL_SENDER_SECRETS=yet-another-long-and-random-looking-value-for-checking \
	METRICS_TOKEN=a-third-long-and-random-looking-value-for-checking-0123

.PHONY: help demo serve test long check bench venv binding sdk cargo style types rust

help:
	@echo "make demo    two people talk through a server of their own"
	@echo "make serve   the whole server on this machine, until Ctrl-C"
	@echo "make test    all tests"
	@echo "make long    the tests that search, for as long as it takes to find something: an hour"
	@echo "make check   style, arrows, types, settings, the Rust binding"
	@echo "make bench   the promised speeds, measured; one of them with ROW=name"

demo: venv binding sdk
	@exec $(BIN)/python sdk/demo/run.py

serve: venv binding
	@exec $(BIN)/python -m catbird_mls.serve

test: venv binding sdk
	@$(BIN)/python -m pytest -q -n auto tests bindings/tests sdk/tests

# The same tests as above, with more of everything.
long: export CATBIRD_HISTORIES := 500
long: export CATBIRD_CROWD := 20
long: export CATBIRD_ENTRIES := 10000
long: export CATBIRD_RECONNECTIONS := 50
long: export CATBIRD_STRESS_SECONDS := 600
long: venv binding sdk
	@$(BIN)/python -m pytest -q tests/simulation tests/faults/test_killed_stack.py \
		tests/delivery/test_streams_under_load.py tests/races/test_stress.py

check: style binding sdk types rust

bench: venv binding sdk bench-binding
	@PYTHONPATH=$(BENCH_SITE) exec $(BIN)/python -m bench.run $(ROW)

style: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	@# The history in a database is not asked for here, so that nothing needs to run.
	CATBIRD_DATABASE_POOL=0 $(BIN)/python -W "ignore:Got an error checking a consistent migration history" \
		manage.py makemigrations --check --dry-run

rust: venv cargo
	cargo fmt --check --manifest-path bindings/Cargo.toml
	cargo clippy $(CARGO_FLAGS) --profile devfast --all-targets -- -D warnings
	cargo test $(CARGO_FLAGS) --profile devfast
	$(BIN)/python -m mypy.stubtest openmls

venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "catbird-mls needs Python 3.11 or newer, \
	and $(PYTHON) is older; name another one: make PYTHON=python3.12")'
	@if ! test "$$($(BIN)/uv --version 2>/dev/null | cut -d " " -f 2)" = $(UV_VERSION); then \
		$(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	fi
	@if ! cmp -s requirements-dev.txt $(VENV)/installed.txt; then \
		$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements-dev.txt; \
		cp requirements-dev.txt $(VENV)/installed.txt; \
	fi

cargo:
	@command -v cargo >/dev/null || { echo "the binding is written in Rust: install it with rustup (rustup.rs)," \
		"then open a new shell" >&2; exit 1; }

binding: venv
	@find $(BINDING_SOURCES) -type f -not -name "*.so" -not -path "*/__pycache__/*" | LC_ALL=C sort | xargs cat \
		| $(BIN)/python -c "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())" \
		> $(VENV)/binding.wanted
	@if ! cmp -s $(VENV)/binding.wanted $(VENV)/binding.installed; then $(MAKE) --no-print-directory binding-build; fi

# Speeds are those of the binding as it is deployed; that one lies beside the one for daily work.
.PHONY: bench-binding
bench-binding: venv cargo
	@if ! cmp -s $(VENV)/binding.wanted $(BENCH_SITE)/built; then \
		rm -rf $(BENCH_SITE) $(BENCH_SITE)-wheel; \
		$(BIN)/maturin build --release --locked --manifest-path bindings/Cargo.toml \
			--interpreter $(BIN)/python --out $(BENCH_SITE)-wheel; \
		$(BIN)/uv pip install --python $(BIN)/python --no-deps --target $(BENCH_SITE) $(BENCH_SITE)-wheel/*.whl; \
		cp $(VENV)/binding.wanted $(BENCH_SITE)/built; \
	fi

.PHONY: binding-build
binding-build: cargo
	rm -rf $(WHEELS)
	$(BIN)/maturin build --profile devfast --locked --manifest-path bindings/Cargo.toml \
		--interpreter $(BIN)/python --out $(WHEELS)
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --reinstall $(WHEELS)/*.whl
	cp $(VENV)/binding.wanted $(VENV)/binding.installed

sdk: venv
	@if ! cmp -s sdk/pyproject.toml $(VENV)/sdk.toml; then \
		$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e sdk; \
		cp sdk/pyproject.toml $(VENV)/sdk.toml; \
	fi
