#!/usr/bin/env bash
# A run that is killed again and again ends as one that never was: `scripts/check_kills.sh [KILLS] [BINARIES]`, 50 kills of the binaries in target/debug
# where nothing is said. Run by hand: it takes some minutes.
#
# `reproduce --preset smoke` is killed with -9 at random moments and started again; when it ends by itself, every table of the report and every file of
# the store must be, byte for byte, that of an undisturbed run, and nothing may be left of what was killed. Then the next folder begins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kills=${1:-50}
program=$(cd "${2:-target/debug}" && pwd)/reproduce
RANDOM=${SEED:-1}

mkdir -p target
scratch=$(mktemp -d "$PWD/target/kills-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
arguments=(--preset smoke --snapshot-every 0 --quiet)
# Some experiments alone, comma-separated: ONLY=memorization takes a minute.
[[ -z ${ONLY:-} ]] || arguments+=(--only "$ONLY")

start=$(date +%s%N)
"$program" "${arguments[@]}" --out "$scratch/undisturbed" >/dev/null
milliseconds=$((($(date +%s%N) - start) / 1000000))
echo "undisturbed: $milliseconds ms"

# The name of a folder in the tables: they hold no path and no time.
compare() {
    diff -r "$scratch/undisturbed/runs" "$1/runs"
    for table in "$scratch"/undisturbed/report/*.csv; do
        cmp "$table" "$1/report/$(basename "$table")"
    done
    if [[ -n $(ls -A "$1/claims") ]]; then
        echo "error: a claim is left in $1/claims: $(ls "$1/claims")" >&2
        return 1
    fi
}

killed=0 folder=0 whole=0
while ((killed < kills || whole == 0)); do
    out=$scratch/$folder
    "$program" "${arguments[@]}" --out "$out" >/dev/null 2>"$scratch/told" &
    child=$!
    if ((killed < kills)); then
        # Up to a sixth of an undisturbed run, so that a folder is killed some times before it is whole.
        sleep "$(((RANDOM * 32768 + RANDOM) % (milliseconds / 6 + 1)))e-3"
    fi
    if ((killed < kills)) && kill -9 "$child" 2>/dev/null; then
        wait "$child" 2>/dev/null || true
        killed=$((killed + 1))
        continue
    fi
    if ! wait "$child"; then
        echo "error: a run that was started again failed: $(cat "$scratch/told")" >&2
        exit 1
    fi
    compare "$out"
    whole=$((whole + 1)) folder=$((folder + 1))
    rm -rf "$out"
done
# The last folder may be in the middle.
if [[ -d $scratch/$folder ]]; then
    "$program" "${arguments[@]}" --out "$scratch/$folder" >/dev/null
    compare "$scratch/$folder"
    whole=$((whole + 1))
fi
echo "$killed kills, $whole runs that were whole in the end: every byte as undisturbed"
