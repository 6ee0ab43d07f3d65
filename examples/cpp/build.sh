#!/bin/sh
# Build the presets that are named, with the runtimes of a Python's wheels: examples/cpp/build.sh PYTHON PRESET...
set -eu
program=$(command -v "$1")
python=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")  # without following links: a venv is found by its own
shift
cd "$(dirname "$0")"
mkdir -p ../../build/cpp
exec 9>../../build/cpp/lock
flock 9  # one build at a time
root=../../build/cpp/onnxruntime-root
./dependencies.sh "$python" "$root"
wheels=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
for preset in "$@"; do
    cmake --preset "$preset" --log-level=NOTICE -DCMGAN_WHEELS="$wheels" -DOnnxRuntime_ROOT="$(realpath "$root")"
    cmake --build --preset "$preset" --parallel 2
done
