#!/usr/bin/env bash
# All that has to be shown on a machine with a GPU, in one go, into one folder: agreement with the processor, a run under compute-sanitizer, the tests of the
# experiments' smoke preset on the GPU, and the speed of GPT-2 small beside PyTorch's.
#
# usage: scripts/gpu-report.sh FOLDER [--programs FOLDER] [--peer-python PYTHON --peer-script SCRIPT] [--peak-tflops N]
#   --programs      where the programs built with `--features cuda` lie; target/release of the repository if not given
#   --peer-python   a Python that can import torch, and
#   --peer-script   the script that times PyTorch's step: scripts/torch_step.py
#   --peak-tflops   the GPU's peak of dense bf16 products in 10^12 operations a second; 989 (H100) if not given
#
# A step that fails is named at the end, and the exit code is 1; the others are run all the same.
set -uo pipefail

out=${1:?usage: scripts/gpu-report.sh FOLDER [OPTIONS]}
shift
programs=$(dirname "${BASH_SOURCE[0]}")/../target/release
peer=()
peak=989
while [[ $# -gt 0 ]]; do
    case $1 in
    --programs) programs=$2 ;;
    --peer-python | --peer-script) peer+=("$1" "$2") ;;
    --peak-tflops) peak=$2 ;;
    *)
        echo "error: found $1, expected --programs, --peer-python, --peer-script or --peak-tflops" >&2
        exit 2
        ;;
    esac
    shift 2
done
mkdir -p "$out"
failed=()
# Where the toolkit puts compute-sanitizer, if it is on no path.
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin

# section NAME COMMAND...: its output goes to FOLDER/NAME.txt too.
section() {
    local name=$1
    shift
    printf '=== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$out/$name.txt"
    [[ ${PIPESTATUS[0]} -eq 0 ]] || failed+=("$name")
}

section gpu nvidia-smi
section parity "$programs/train-bench" parity
section smoke "$programs/tradeoff" --preset smoke --device cuda --out "$out/smoke"
section memorization "$programs/memorization" --preset smoke --device cuda --out "$out/smoke"
section pairs "$programs/optimizer-pairs" --preset smoke --device cuda --out "$out/smoke"
# The sanitizer runs the program some hundred times slower: a network of the smallest shape, in both kinds of attention; the networks of the comparison, which
# have heads of all widths and a last tile that is not full, for two steps.
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck initcheck; do
        for precision in f32 bf16; do
            section "sanitizer-$tool-$precision" compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$programs/train-bench" step tiny muon "$precision" --device cuda --batch 2
        done
    done
    for tool in memcheck initcheck; do
        section "sanitizer-$tool-parity" compute-sanitizer --tool "$tool" --error-exitcode 1 "$programs/train-bench" parity --steps 2
    done
else
    echo 'error: compute-sanitizer is not installed' | tee "$out/sanitizer.txt"
    failed+=(sanitizer)
fi
section speed "$programs/train-bench" "${peer[@]}" --csv "$out/speed.csv" gpu --peak-tflops "$peak"
# Half a million tokens a step, with one update for sixteen parts.
section speed-large-step "$programs/train-bench" --csv "$out/speed-large-step.csv" gpu --peak-tflops "$peak" --batch 512 --micro-batch 32 --precisions bf16

if [[ ${#failed[@]} -gt 0 ]]; then
    printf '=== failed: %s\n' "${failed[*]}"
    exit 1
fi
printf '=== all passed; everything is in %s\n' "$out"
