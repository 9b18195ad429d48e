#!/usr/bin/env bash
# Replays recorded cases on processors that are not here: each must choose the kernels that it has, and no others.
set -euo pipefail
build=$1

replay() { # the instruction sets that are expected, and the emulator with its processor
    local wanted=$1 programs=$2
    shift 2
    "$@" "$programs/replay_images" "$build"/cases/*.image
    local found
    found=$("$@" "$programs/replay" "$build"/cases/{sliced,sliced_oblong,from_the_stem,exits,lite}.case)
    echo "$found"
    found=$(echo "$found" | sed 's/.* \(.*\):.*/\1/' | sort -u | paste -sd ' ')
    if [ "$found" != "$wanted" ]; then
        echo "$*: kernels for '$found' ran, and those for '$wanted' should have" >&2
        exit 1
    fi
}

replay sse "$build/emulate-x86_64" qemu-x86_64 -cpu Nehalem
replay "avx2 sse" "$build/emulate-x86_64" qemu-x86_64 -cpu Haswell
replay neon "$build/emulate-aarch64" qemu-aarch64 -cpu cortex-a53
