PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OML_VENV := .venv-oml

.PHONY: help install demo test docs wheel bench gpu-check parity clean
help:
	@echo "make demo    install, train on the embedded people, evaluate, write a submission (5 minutes after install)"
	@echo "make test    lint, types and tests"
	@echo "make docs    the documentation site, strictly, into build/site"
	@echo "make wheel   the package as one file, in dist/"
	@echo "make bench   speed beside OML and scikit-learn: hours; BENCH=--quick tries whether all of it runs"
	@echo "make gpu-check  training, DDP and embedding on a CUDA card: at most 8 minutes"
	@echo "make parity  losses, samplers and backbones beside OML's, in an environment of its own"

install: $(STAMP)

# constraints.txt pins everything, so that every install is the same. torch comes first: its wheel is by far the largest.
$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/bonaface get demo demo
	$(BIN)/bonaface train --config configs/demo.yaml
	$(BIN)/bonaface evaluate --model demo/runs/demo --pairs demo/test --labels demo/test/labels.csv --out demo/evaluation
	$(BIN)/bonaface submit --model demo/runs/demo --pairs demo/test --out demo/submission.csv
	@echo "run: demo/runs/demo   figures: demo/evaluation/metrics.json   submission: demo/submission.csv"

# One process a core, with one thread each.
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	test ! -x $(BIN)/hadolint || $(BIN)/hadolint docker/Dockerfile docker/Dockerfile.gpu
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal

# The site has an environment of its own, without torch: the references are written from parsers and docstrings.
DOCS_VENV := .venv-docs
$(DOCS_VENV)/.installed: pyproject.toml constraints.txt
	test -d $(DOCS_VENV) || $(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(DOCS_VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

# tests/test_wheel.py installs the same into an environment of its own, and runs every command there.
wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

# Open Metric Learning needs numpy<2, which constraints.txt does not have: the newest versions that go with it are taken.
$(OML_VENV)/.installed: pyproject.toml
	test -d $(OML_VENV) || $(PYTHON) -m venv $(OML_VENV)
	$(OML_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[oml]' pytest
	touch $@

# Times and memory beside scikit-learn's, ONNX Runtime's, OpenVINO's and OML's, which has an environment of its own: hours.
# BENCH=--quick is given to every part: tiny sizes, nothing recorded.
BENCH :=
bench: $(STAMP) $(OML_VENV)/.installed
	$(BIN)/python benchmarks/metrics.py $(BENCH)
	$(BIN)/python benchmarks/start_up.py $(BENCH)
	$(BIN)/python benchmarks/embedding.py $(BENCH) --oml-python $(OML_VENV)/bin/python
	$(BIN)/python benchmarks/limit.py $(BENCH)
	$(BIN)/python benchmarks/losses.py $(BENCH) --oml-python $(OML_VENV)/bin/python
	$(BIN)/python benchmarks/training.py $(BENCH) --size 112 224 --oml-python $(OML_VENV)/bin/python
	$(BIN)/python benchmarks/performance.py

gpu-check: $(STAMP)
	$(BIN)/python benchmarks/gpu_check.py --oml-python $(OML_VENV)/bin/python

parity: $(OML_VENV)/.installed
	$(OML_VENV)/bin/python -m pytest -p no:cacheprovider tests/parity

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
