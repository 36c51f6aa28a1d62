#!/usr/bin/env bash
# What can be checked of the GPU code without a GPU: that everything compiles with `--features cuda`, without a warning, and that the kernels, run on the processor,
# pass their own tests and those of all operations, with threads in either order.
#
# usage: scripts/check-cuda.sh [FOLDER]
#   FOLDER   of scripts/build-cuda.sh, if no toolkit is installed
#
# CARGO_TARGET_DIR says where to build, as always; the build with the feature goes to a folder `cuda` below it, since it shares little with the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
with_cuda() {
    if [[ -n ${folder:-} ]]; then
        CARGO_TARGET_DIR=$target/cuda scripts/build-cuda.sh "$folder" "$@"
    else
        CARGO_TARGET_DIR=$target/cuda cargo "$@"
    fi
}
folder=${1:-}

echo '=== compiles with the feature `cuda`, programs linked'
with_cuda clippy --locked --package models --features cuda -- --deny warnings
with_cuda build --locked --package experiments --features cuda --bins

echo '=== the kernels on the processor: their own tests, then those of every operation, optimizer and network'
for order in forward reverse; do
    EMULATION_ORDER=$order cargo test --locked --package models --features cuda-emulation --test numerics kernels
done
EMULATE_CUDA=1 cargo test --locked --package models --features cuda-emulation --test numerics
echo '=== passed; docs/gpu.md says what this does not show'
