#!/bin/sh
# What `make cpp` builds with, brought together; does nothing when everything is there.
#
#   examples/cpp/dependencies.sh PYTHON FOLDER
#
# Debian's packages are installed by root and named to anybody else (exit 5). FOLDER becomes a tree like an official archive
# of ONNX Runtime's: the library of PYTHON's wheel, and the headers of Debian 13, which are older and which it still serves.
set -eu
python=$1
folder=$2

missing=
for package in cmake g++ libpng-dev libssl-dev nlohmann-json3-dev pkg-config; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed$' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    line="apt-get install --yes$missing"
    if [ "$(id -u)" != 0 ]; then
        echo "these packages are missing: sudo $line" >&2
        exit 5
    fi
    apt-get update --quiet --quiet && DEBIAN_FRONTEND=noninteractive $line --quiet --quiet >/dev/null
fi

if [ ! -e "$folder/include/onnxruntime_cxx_api.h" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1)
    mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$folder"
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$key] ${mirror:-http://deb.debian.org/debian/} trixie main" >"$work/parts/trixie.list"
    set -- -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists" \
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root --quiet --quiet
    if ! (cd "$work" && apt-get "$@" update && apt-get "$@" download libonnxruntime-dev); then
        echo "no headers of ONNX Runtime: unpack an official archive of its releases as $folder" >&2
        exit 5
    fi
    dpkg -x "$work"/libonnxruntime-dev_*.deb "$work/root"
    cp -r "$work/root/usr/include/onnxruntime" "$folder/include"
fi

library=$("$python" -c 'import importlib.util, pathlib
folder = pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent / "capi"
print(next(folder.glob("libonnxruntime.so.1.*")))')
mkdir -p "$folder/lib"
ln -sf "$library" "$folder/lib/libonnxruntime.so.1"
ln -sf libonnxruntime.so.1 "$folder/lib/libonnxruntime.so"
