#!/usr/bin/env bash
# The jobs that --slurm writes, on a real Slurm: `scripts/check_slurm.sh [BINARIES [TRIAL...]]` with Slurm's programs on the PATH, a cluster that they
# reach, and built binaries (target/debug where nothing is said). Run by hand: it takes some minutes, and a cluster (docs/cluster.md).
#
# The smoke preset over an array of four must give the results.csv of one machine, byte for byte: undisturbed, with one task killed by -9, with
# one task queued again, with one node drained while it works (on a cluster of two nodes or more), and with tasks whose time runs out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
binaries=$(cd "${1:-target/debug}" && pwd)
command -v sbatch >/dev/null || { echo "error: found no sbatch, expected Slurm's programs on the PATH" >&2; exit 2; }

scratch=$(mktemp -d "$PWD/target/slurm-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export XDG_CONFIG_HOME=$scratch
program=$binaries/tradeoff
# A snapshot after every step makes the stages long enough to be met in the middle.
arguments=(--preset smoke --jobs 1 --snapshot-every 0 --quiet)

echo "one machine"
"$program" "${arguments[@]}" --out "$scratch/one" >/dev/null
one=$scratch/one/report/results.csv
# The text is there before: what is tried is the trainings.
text() {
    mkdir -p "$1/runs"
    cp -r "$scratch"/one/runs/{text,tokens,code-tokens}-* "$1/runs/"
}

# Waits until a command succeeds.
wait_for() {
    for _ in $(seq 3000); do
        "$@" && return
        sleep 0.1
    done
    echo "error: waited for five minutes in vain: $*" >&2
    squeue >&2
    exit 1
}

tasks_at_work() { squeue -h -r -j "$array" -t RUNNING -o '%A %N' 2>/dev/null | grep .; }
in_training() { compgen -G "$out/runs/finetune-*" >/dev/null && tasks_at_work >/dev/null; }
ended() { ! squeue -h -j "$array,$report" 2>/dev/null | grep -q .; }

# Submits, does what is named while the tasks are at work, waits, and compares.
try() {
    local name=$1
    out=$scratch/$name
    text "$out"
    local told
    told=$("$program" "${arguments[@]}" --out "$out" --slurm=submit --slurm-set tasks=4 "${@:3}" | tail -n 1)
    array=$(sed -E 's/.*array ([0-9]+) of.*/\1/' <<<"$told")
    report=$(sed -E 's/.*then job ([0-9]+).*/\1/' <<<"$told")
    wait_for in_training
    "$2"
    wait_for ended
    if ! cmp "$one" "$out/report/results.csv"; then
        echo "error: $name gave another results.csv; what the jobs said:" >&2
        tail -n 5 "$out"/slurm/*.log >&2
        exit 1
    fi
    diff -r "$scratch/one/runs" "$out/runs"
    echo "$name: as one machine ($(ls "$out"/slurm/*-stages-*.log | wc -l) tasks; $(grep -ch . "$out"/slurm/*.log | paste -sd+ | bc) lines told)"
}

nothing() { :; }
kill_one() {
    # Who works on a stage says so in its claim.
    local process
    process=$(cat "$out"/claims/* | sed -nE 's/.*"pid":([0-9]+).*/\1/p' | head -n 1)
    kill -9 "$process"
    echo "  killed process $process"
}
requeue_one() {
    local job
    job=$(tasks_at_work | head -n 1 | cut -d' ' -f1)
    scontrol requeue "$job"
    echo "  queued $job again"
}
drain_one() {
    local node
    node=$(tasks_at_work | head -n 1 | cut -d' ' -f2)
    scontrol update NodeName="$node" State=DRAIN Reason="scripts/check_slurm.sh"
    requeue_one
    echo "  drained $node"
    drained=$node
}
signal_one() {
    local job
    # As Slurm does before the time is up. It refuses for a moment where a task is just being started or ended.
    for _ in $(seq 100); do
        for job in $(tasks_at_work | cut -d' ' -f1); do
            if scancel --batch --signal=USR2 "$job" 2>/dev/null; then
                echo "  told $job that its time is nearly up"
                return
            fi
        done
        sleep 0.1
    done
    echo "error: no task could be told that its time is up" >&2
    exit 1
}

trials=("${@:2}")
if ((${#trials[@]} == 0)); then
    trials=(undisturbed killed requeued signalled drained)
fi
for trial in "${trials[@]}"; do
    case $trial in
    undisturbed) try undisturbed nothing ;;
    killed) try killed kill_one ;;
    requeued) try requeued requeue_one ;;
    signalled) try signalled signal_one ;;
    drained)
        if (($(sinfo -h -N -o %N | sort -u | wc -l) < 2)); then
            echo "drained: not tried on one node"
            continue
        fi
        try drained drain_one
        scontrol update NodeName="$drained" State=RESUME
        ;;
    *) echo "error: found trial $trial, expected undisturbed, killed, requeued, signalled or drained" >&2; exit 2 ;;
    esac
done
echo "all as one machine"
