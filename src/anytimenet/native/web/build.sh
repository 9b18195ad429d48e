#!/bin/sh
# build.sh [FILE]: compiles the engine's sources to WebAssembly, by default engine.wasm beside this script.
# Two builds by one release of emscripten are equal bit for bit; the committed one is of 3.1.6 (Debian 12, with
# node-acorn). `make wasm` runs this.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/engine.wasm}
cd "$here/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C NODE_PATH="${NODE_PATH:-/usr/share/nodejs}"

# The digest that CMakeLists.txt and library.py compute, too.
digest=$(for file in $(ls CMakeLists.txt include/*.h src/*.cpp src/*.h src/*.inc src/kernels/*.inc | sort); do
    printf '%s %s\n' "$file" "$(sha256sum < "$file" | cut -d' ' -f1)"
done | sha256sum | cut -d' ' -f1)

# What browsers with vectors have, too.
features="--enable-simd --enable-exception-handling --enable-bulk-memory --enable-nontrapping-float-to-int
    --enable-sign-ext --enable-mutable-globals"

# Kernels are to be fast, the rest is to be small.
options="-std=gnu++17 -msimd128 -mbulk-memory -mnontrapping-fptoint -msign-ext -fwasm-exceptions -fno-rtti
    -fvisibility=hidden
    -fno-math-errno -fno-trapping-math -ffp-contract=fast -DANYTIME_DIGEST=\"$digest\""
for file in src/*.cpp; do
    case $file in src/kernels*) level=-O2 ;; *) level="-Oz -flto" ;; esac
    em++ $options $level -c "$file" -o "$work/$(basename "$file" .cpp).o"
done
names=$(sed -n 's/.*ANYTIME_API.*[ *]\(anytime_[a-z0-9_]*\)(.*/,_\1/p' include/anytimenet.h | tr -d '\n')
em++ $options -Oz -flto "$work"/*.o --no-entry -sSTANDALONE_WASM -sALLOW_MEMORY_GROWTH -sMALLOC=emmalloc \
    -sEXPORTED_FUNCTIONS="_malloc,_free$names" -o "$work/engine.wasm"
wasm-opt -Oz $features "$work/engine.wasm" -o "$work/smaller.wasm" # once more: a kilobyte less
mv "$work/smaller.wasm" "$out"
chmod 644 "$out"
