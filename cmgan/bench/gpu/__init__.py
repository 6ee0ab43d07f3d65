"""What only a GPU can tell: `python -m cmgan.bench.gpu COMMAND -o FOLDER`."""
