# `make` alone lists the targets. Needs Python 3.11 or newer, make, and the network the first time (for pip).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two recipes at once would run two pips in one environment.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

# The options of `mnet` that make hands on. They reach the recipes through the environment, never through the recipe's
# text, so no shell ever parses their values; `value` keeps make itself from expanding a $ in them.
OPTIONS := WEIGHTS CALIBRATION LABELS CLASSES ALPHA RESOLUTION PRECISION IO LAYOUT BATCH TUNE OUT FORCE ROUNDS DATA PI THREADS DEVICE \
  PHONE BENCHMARK_MODEL BENCHMARK_MODEL_SHA256
$(foreach option,$(OPTIONS),$(eval override $(option) := $$(value $(option))))
export $(OPTIONS)

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "export-tflite takes WEIGHTS= CALIBRATION= LABELS= CLASSES= ALPHA= RESOLUTION= PRECISION= IO= OUT= FORCE=1,"
	@echo "export-onnx those and LAYOUT= BATCH= TUNE=,"
	@echo "bench takes WEIGHTS= CALIBRATION= LABELS= CLASSES= ALPHA= RESOLUTION= THREADS=1,4, bench-pi PI= as well,"
	@echo "bench-android those of bench and PHONE= BENCHMARK_MODEL= BENCHMARK_MODEL_SHA256=,"
	@echo "train-default takes DATA= OUT= FORCE=1,"
	@echo "cost takes ALPHA= RESOLUTION= CLASSES=, test takes ARGS= (options of pytest)."
	@echo "Every target sets up $(VENV) by itself; PYTHON=python3.12 chooses the interpreter of a new one."

# The environment: one folder that grows by extras. A stamp file says what is in it, so the next run starts at once.

EXTRAS.core :=
EXTRAS.export := [export]
EXTRAS.android := [export,android]
EXTRAS.train := [export,tensorflow,report]
EXTRAS.dev := [export,tensorflow,onnx,report,android,fit,dev]

STAMPS.core := .core
STAMPS.export := .core .export
STAMPS.android := .core .export .android
STAMPS.train := .core .export .train
STAMPS.dev := .core .export .android .train .dev

CORE := $(VENV)/.core
EXPORT := $(VENV)/.export
ANDROID := $(VENV)/.android
TRAIN := $(VENV)/.train
DEV := $(VENV)/.dev

$(CORE) $(EXPORT) $(ANDROID) $(TRAIN) $(DEV): $(VENV)/.%: pyproject.toml mnet_deploy/__init__.py
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || { \
	  "$(PYTHON)" tools/check_host.py && echo "make: creating $(VENV)" && "$(PYTHON)" -m venv --clear "$(VENV)"; }
	@echo "make: installing mnet-deploy$(EXTRAS.$*) into $(VENV)$(if $(findstring tensorflow,$(EXTRAS.$*)), (TensorFlow is a large download))"
	@[ -t 1 ] || quiet=--quiet; \
	"$(BIN)/python" -m pip install $$quiet --disable-pip-version-check --editable ".$(EXTRAS.$*)"
	@cd "$(VENV)" && touch $(STAMPS.$*)

.PHONY: install
install: $(DEV)  ## Set up .venv with everything to export, run and develop

# Use

# Appends `--option value` to the recipe's arguments where the variable is set.
define hand_on
set --; \
$(foreach option,$(1),[ -z "$$$(option)" ] || set -- "$$@" --$(shell echo $(option) | tr A-Z a-z) "$$$(option)"; )
endef

# With neither weights nor folder given, the result goes to a folder that is make's to overwrite. Everywhere else
# (`mnet export` writes to exports/ by default) an existing file stays unless FORCE=1 is given.
define export
@$(call hand_on,WEIGHTS CALIBRATION LABELS CLASSES ALPHA RESOLUTION PRECISION IO $(2) OUT) \
[ -n "$$WEIGHTS$$OUT" ] || set -- "$$@" --out exports/default --force; \
case "$$FORCE" in ""|0) ;; *) set -- "$$@" --force ;; esac; \
"$(BIN)/mnet" export --format $(1) "$$@"
endef

.PHONY: export-tflite
export-tflite: $(EXPORT)  ## Export a .tflite (with nothing set: the shipped checkpoint)
	$(call export,tflite)

.PHONY: export-onnx
export-onnx: $(EXPORT)  ## Export an .onnx (with nothing set: the shipped checkpoint)
	$(call export,onnx,LAYOUT BATCH TUNE)

# Both formats in int8 and fp32, made anew in a folder that is make's to empty.
define bench
@$(call hand_on,WEIGHTS CALIBRATION LABELS CLASSES ALPHA RESOLUTION) \
rm -rf exports/bench && \
"$(BIN)/mnet" export --format tflite,onnx --precision int8,fp32 --out exports/bench "$$@"
@$(call hand_on,THREADS) \
"$(BIN)/mnet" bench exports/bench/*_int8.tflite exports/bench/*_int8.onnx exports/bench/*_fp32.tflite \
  exports/bench/*_fp32.onnx $(1) "$$@"
endef

.PHONY: bench
bench: $(EXPORT)  ## Export int8 and fp32 in both formats and measure their latency on this machine
	$(call bench)

.PHONY: bench-pi
bench-pi: $(EXPORT)  ## The same on a Raspberry Pi over ssh (PI=pi@raspberrypi.local)
	@[ -n "$$PI" ] || { echo "make: give PI=, as in PI=pi@raspberrypi.local (see docs/devices.md)" >&2; exit 2; }
	$(call bench,--device "ssh://$$PI")

.PHONY: bench-android
bench-android: $(ANDROID)  ## The same on a phone through adb (PHONE=SERIAL if there are several)
	$(call bench,--device "adb://$$PHONE" \
	  $${BENCHMARK_MODEL:+--benchmark-model "$$BENCHMARK_MODEL"} \
	  $${BENCHMARK_MODEL_SHA256:+--benchmark-model-sha256 "$$BENCHMARK_MODEL_SHA256"})

.PHONY: train-default
train-default: $(TRAIN)  ## Train the shipped checkpoint again (DATA=folder of its photos) and compare with it
	@[ -n "$$DATA" ] || { echo "make: give DATA=, the folder with train/, val/ and test/ (see docs/training.md)" >&2; exit 2; }; \
	"$(BIN)/mnet" train --recipe shipped --data "$$DATA" --test --out "$${OUT:-training}" $(if $(FORCE),--force)

.PHONY: cost
cost: $(CORE)  ## MACs, parameters, bytes and peak memory (needs the core install only)
	@$(call hand_on,ALPHA RESOLUTION CLASSES) "$(BIN)/mnet" cost "$$@"

# Development

.PHONY: check
check: lint typecheck test  ## What a change must pass: lint, typecheck, test

.PHONY: lint
lint: $(DEV)  ## ruff: rules and format
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .

.PHONY: typecheck
typecheck: $(DEV) links  ## mypy --strict
	@"$(BIN)/mypy"
	@"$(BIN)/mypy" tools benchmarks
	@"$(BIN)/mypy" device_tests/emulated_pi

# Type checkers do not follow the mapping of folders in pyproject.toml: show them the installed layout.
.PHONY: links
links:  ## Lay the installed layout out as symlinks in .links/ (for mypy and pyright)
	@mkdir -p .links/mnet_deploy
	@find -L .links/mnet_deploy -maxdepth 1 -type l -exec rm {} +
	@cd .links/mnet_deploy && ln -sfn ../../mnet_deploy/* ../../converters ../../runners ../../models .

TWO_AT_ONCE := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(DEV)  ## pytest in 2 processes (ARGS="-k cost" and the like; ARGS="-n 0" for one)
	@"$(BIN)/pytest" $(TWO_AT_ONCE) $(ARGS)

# Stand-ins need root: mounts, a network namespace, another architecture. A real device needs none, and is one: there
# tests go one after the other.
STAND_INS := $(if $(findstring ssh://,$(ARGS))$(findstring adb://,$(ARGS)),,yes)

.PHONY: device-test
device-test: $(DEV)  ## Tests on a stand-in Raspberry Pi and phone (root or sudo), or ARGS="--device ADDRESS"
	@as=; $(if $(STAND_INS),[ "$$(id -u)" -eq 0 ] || as='sudo -E env PYTHONDONTWRITEBYTECODE=1';) \
	[ -z "$$as" ] || command -v sudo >/dev/null || { \
	  echo "make: device-test needs root, or sudo (mounts, a network namespace, another architecture)" >&2; exit 3; }; \
	$$as "$(BIN)/pytest" -p no:cacheprovider $(if $(STAND_INS),$(TWO_AT_ONCE)) device_tests $(ARGS)

.PHONY: transcripts
transcripts: $(DEV)  ## Record again what the fast tests replay, with the stand-in (root; nothing else may run)
	@"$(BIN)/python" device_tests/record_transcripts.py tests/bench/transcripts

.PHONY: wheel-check
wheel-check: $(DEV)  ## Build wheel and sdist, install them elsewhere, import every module, open every data file
	@"$(BIN)/python" tools/wheel_check.py

.PHONY: oldest-engines
oldest-engines: $(DEV)  ## Run our .onnx files in the oldest ONNX Runtimes (minutes; needs the network, python3.9, python3.10)
	@"$(BIN)/python" tools/oldest_engines.py

.PHONY: bench-self
bench-self: $(DEV)  ## Measure the toolkit against the shortest script that does the same (CALIBRATION=, ROUNDS=)
	@$(call hand_on,CALIBRATION ROUNDS) "$(BIN)/python" benchmarks/bench_self.py "$$@"
	@"$(BIN)/python" benchmarks/agent_loop.py
	@"$(BIN)/python" benchmarks/native_runner.py
	@for threads in 1 2; do "$(BIN)/python" benchmarks/onnx_latency.py --threads $$threads || exit; done

.PHONY: clean
clean:  ## Remove build products and caches
	rm -rf build dist *.egg-info .links .mypy_cache .ruff_cache .pytest_cache .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean  ## Remove .venv as well
	rm -rf "$(VENV)"
