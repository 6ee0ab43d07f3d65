#!/bin/sh
# Build the presets that are named, with the runtimes of a Python's wheels: examples/cpp/build.sh PYTHON PRESET...
set -eu
cd "$(dirname "$0")"
python=$(command -v "$1")
shift
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
