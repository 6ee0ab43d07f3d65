# Every target does its own set-up: the environment is made when it is missing or older than the two files that name it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo quick test check lint cpp bench gpu-check weights
.DELETE_ON_ERROR:

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# A photograph in; the picture, an exported network, its proof, the table and the plot out.
demo: $(INSTALLED)
	mkdir -p out/demo
	$(BIN)/cmgan inpaint examples/photo.jpg examples/mask.png -o out/demo/photo.inpainted.png --overwrite
	$(BIN)/cmgan export --format onnx --model small-512 -o out/demo --overwrite
	$(BIN)/cmgan bench --res 512 --model out/demo/model.onnx --formats eager,eager-channels-last,onnx --batch 1 \
		-o out/demo/bench --overwrite
	@echo && echo "out/demo now holds:" && find out/demo -type f | sort

# Two workers of one thread each: most tests are too small to use two threads.
DEFAULT := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not check and not gpu"
QUICK := tests/imaging tests/inpaint tests/masks tests/test_config.py tests/test_machine.py

quick: $(INSTALLED)
	$(DEFAULT) $(QUICK)

test: $(INSTALLED)
	$(DEFAULT)

# Everything; tests that need a GPU say so and are skipped where there is none.
check: test
	$(BIN)/python -m pytest -m "check or gpu"

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The C++ library and program for the runtimes of the wheels in .venv; nothing is fetched once docs/cpp.md's packages are there.
cpp: $(INSTALLED)
	examples/cpp/build.sh $(BIN)/python onnxruntime openvino aoti

bench: $(INSTALLED)
	mkdir -p out
	$(BIN)/cmgan bench --res 512 -o out/bench --overwrite

# The model that comes with the package, made anew on two CPU cores: photographs from Debian packages, training, the
# graph, the card. Needs apt-get and the network; nothing else here does. It says first how many hours each stage of the
# training takes on this machine; a broken one goes on with the same command.
WEIGHTS := --config recipes/photos/mini-256.toml data.path=out/photos/shards data.validation=out/photos/validation.tar
weights: $(INSTALLED)
	mkdir -p out
	test -d out/photos || $(BIN)/python recipes/photos/prepare.py out/photos
	$(BIN)/cmgan train $(WEIGHTS) --dry-run
	$(BIN)/cmgan train $(WEIGHTS) -o out/mini-256
	PYTHONPATH=. $(BIN)/python recipes/photos/evaluate.py out/mini-256/3-256/best out/card --photos out/photos --overwrite
	$(BIN)/python -m tools.bundle out/mini-256/3-256/best cmgan/weights/photos-256/README.md -o cmgan/weights/photos-256

# From a plain checkout, with the torch and triton of the machine: no environment is made. REHEARSE=--rehearse runs it
# small on a CPU.
gpu-check:
	@failed=0; for command in kernels models layers training; do \
		$(PYTHON) -m cmgan.bench.gpu $$command -o out/gpu-check $(REHEARSE) || failed=1; \
	done; exit $$failed
