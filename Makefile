# make quickstart   train, evaluate and try a first anytime network (nothing but Python 3.11+ needed)
# make test         every test          make check    lint, format, types and spelling
# make thorough     properties on twenty times as many examples as `make test` draws
# make bench        the benchmarks      make docs         the documentation site, in site/
# make native       the C++ engine again, after its sources have changed (needs CMake and GCC 12 or Clang)
# make sanitize     recorded runs of the engine under the sanitizers
# make fuzz         changed programs and images, for FUZZ_SECONDS seconds each; by libFuzzer where clang++ is
# make emulate      recorded runs on older and other processors (needs QEMU and GCC for aarch64)
# make wasm         the engine for browsers again, after its sources have changed (needs emscripten 3.1.6)
# make test-page    the page and the engine in a real browser
# make page-tools   what the tests in a browser need besides Node and Chromium
# make ray          two replicas of the server on a local Ray, one killed under load
# make attack       a server under a thousand requests that are wrong in some way
# make soak         a server at twice its full load for SOAK_SECONDS seconds: is its memory flat?
# all of them take VENV=<folder> and PYTHON=<interpreter>
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test check format bench docs clean native sanitize fuzz wasm page-tools emulate ray test-page
.PHONY: soak thorough attack
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
# Files of the engine are compiled on all cores.
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)
# Where there is a compiler, the tests fail unless the native engine was built and loads.
REQUIRE_NATIVE := $(or $(ANYTIMENET_REQUIRE_NATIVE),$(if $(shell command -v g++ || command -v clang++),1,0))

quickstart: $(VENV)/.train
	$(BIN)/anytimenet quickstart --out runs/quickstart

test: $(VENV)/.dev $(VENV)/.vision
	ANYTIMENET_REQUIRE_NATIVE=$(REQUIRE_NATIVE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)
	OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/vision $(BIN)/python -m pytest -q -n 2 -m vision

thorough: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile=thorough \
	    $$(grep -rlE '^from (hypothesis|tests.examples) import' tests --include='test_*.py') $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell src docs examples reproductions benchmarks *.md

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

native: $(VENV)/.dev
	$(PIP) --no-deps -e .

wasm:
	sh src/anytimenet/native/web/build.sh

page-tools: tests/browser/node_modules/.made

tests/browser/node_modules/.made: tests/browser/package.json
	cd tests/browser && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

test-page: page-tools $(VENV)/.dev
	OMP_NUM_THREADS=1 ANYTIMENET_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -q tests/browser tests/unit/native/test_wasm.py

build/cases: tests/native/record.py $(wildcard src/anytimenet/export/native_*.py) | $(VENV)/.dev
	$(BIN)/python tests/native/record.py $@
	touch $@

DRIVERS := $(wildcard tests/native/*.cpp tests/native/*.h tests/native/CMakeLists.txt src/anytimenet/native/src/*.* src/anytimenet/native/src/kernels/*)
build/sanitize-%: $(DRIVERS)
	cmake -S tests/native -B $@ -DSANITIZERS=$(if $(filter address,$*),address$(comma)undefined,$*)
	cmake --build $@
	touch $@
comma := ,

sanitize: build/sanitize-address build/sanitize-thread build/cases
	build/sanitize-address/replay build/cases/*.case
	build/sanitize-address/replay_images build/cases/*.image
	build/sanitize-thread/replay build/cases/sliced.case build/cases/lite.case

build/libfuzzer: $(DRIVERS)
	cmake -S tests/native -B $@ -DCMAKE_CXX_COMPILER=clang++
	cmake --build $@ --target fuzz fuzz_images
	touch $@

LIBFUZZER := -max_total_time=$(FUZZ_SECONDS) -timeout=60 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1
ifneq ($(shell command -v clang++),)
fuzz: build/libfuzzer build/cases
	mkdir -p build/corpus/programs build/corpus/images build/seeds/programs build/seeds/images
	cp build/cases/*.case build/seeds/programs
	cp build/cases/*.image build/seeds/images
	build/libfuzzer/fuzz $(LIBFUZZER) -max_len=2000000 build/corpus/programs build/seeds/programs
	build/libfuzzer/fuzz_images $(LIBFUZZER) -max_len=20000 build/corpus/images build/seeds/images
else
fuzz: build/sanitize-address build/cases
	build/sanitize-address/fuzz $(FUZZ_SECONDS) build/cases/*.case
	build/sanitize-address/fuzz_images $(FUZZ_SECONDS) build/cases/*.image
endif

# An instruction that the processor does not have ends the program: a wrong choice of kernels is seen.
build/emulate-%: $(DRIVERS)
	cmake -S tests/native -B $@ -DSANITIZERS= -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$* \
	    -DCMAKE_CXX_COMPILER=$*-linux-gnu-g++
	cmake --build $@ --target replay replay_images
	touch $@

emulate: build/emulate-x86_64 build/emulate-aarch64 build/cases
	tests/native/emulate.sh build

soak: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/serving/soak.py $(SOAK_SECONDS)

attack: $(VENV)/.dev
	OMP_NUM_THREADS=1 ATTACK_REQUESTS=1000 $(BIN)/python -m pytest -q \
	    tests/unit/serving/http/test_hostile.py tests/unit/serving/http/test_malformed.py

clean:
	rm -rf build dist runs site .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("anytimenet needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing anytimenet and what it needs into $(VENV); this takes a minute or two."
	$(PIP) -e '.[train]'
	touch $@

# Beside the environment, not in it: torchvision's build for CUDA does not import next to a torch for CPUs, and
# other packages import it wherever they find it. tests/conftest.py makes it work for the tests that want it.
$(VENV)/.vision: constraints.txt $(VENV)/.dev
	rm -rf $(VENV)/vision
	$(PIP) --no-deps --target $(VENV)/vision torchvision timm
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing anytimenet and its development tools into $(VENV); this takes a minute or two."
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.train

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	touch $@

# Ray beside the environment, as with torchvision: it brings other versions of what is there.
$(VENV)/.ray: $(VENV)/.dev
	rm -rf $(VENV)/ray
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(VENV)/ray 'ray[serve]>=2.50'
	touch $@

ray: $(VENV)/.ray
	OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/ray RAY_USAGE_STATS_ENABLED=0 $(BIN)/python -m pytest -q -W default tests/replicas
