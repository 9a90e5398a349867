#!/usr/bin/env bash
# Repeats the table of seeds in exp/LOG.md: run.sh with seeds 0 to 4, with 0 to 2 in other arithmetic, and with seed 0 by
# SpikingJelly's operators, one after the other, each in a folder of its own; then prints the table.
# KEY VALUE arguments are passed to every run; OUTPUT_DIR is the folder of them all. Started again, finished runs stay as
# they are (remove the folder to begin anew), and one that was interrupted continues.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../tools/activate.sh"

folder=$here/output-seeds
options=()
while (($#)); do
    case $1 in
        OUTPUT_DIR) folder=${2:?OUTPUT_DIR needs a folder} ;;
        RNG_SEED | SNN.BACKEND | TRAIN.ENABLE | TEST.ENABLE)
            echo "$1 is decided by this script. Leave it out, or start single runs with run.sh." >&2
            exit 1
            ;;
        *) options+=("$1" ${2+"$2"}) ;;
    esac
    shift $(($# > 1 ? 2 : 1))
done

# Else finished runs would stand for arguments that they were not made with.
recipe=$(cat "$here/config.yaml" && printf '%s\n' ${options[@]+"${options[@]}"})
mkdir -p "$folder"
if [ -e "$folder/recipe" ] && [ "$recipe" != "$(cat "$folder/recipe")" ]; then
    echo "$folder holds runs of other arguments or of another config.yaml. Remove it, or give another OUTPUT_DIR." >&2
    exit 1
fi
printf '%s\n' "$recipe" > "$folder/recipe"

# The instructions that oneDNN and torch's own operators may use.
unset ONEDNN_MAX_CPU_ISA ATEN_CPU_CAPABILITY
other=(ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2)
if [ "$(python -c 'import torch; print(torch.backends.cpu.get_cpu_capability())')" != AVX512 ]; then
    other=(ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default)
fi

runs=()
# Usage: run_once NAME [VARIABLE=VALUE ...] KEY VALUE ...
run_once() {
    local run=$folder/$1 environment=()
    shift
    while [[ $1 == *=* ]]; do
        environment+=("$1")
        shift
    done
    runs+=("$run")
    [ ! -e "$run/report.json" ] || return 0
    local status=0
    env ${environment[@]+"${environment[@]}"} \
        bash "$here/run.sh" ${options[@]+"${options[@]}"} "$@" OUTPUT_DIR "$run" || status=$?
    case $status in
        0) [ -e "$run/report.json" ] || exit 1 ;; # interrupted, and it has said how to continue
        130 | 143) exit "$status" ;;              # interrupted twice
        *) echo "$run has failed; those that follow are made all the same." >&2 ;;
    esac
}

for seed in 0 1 2 3 4; do run_once "usual-$seed" RNG_SEED "$seed"; done
for seed in 0 1 2; do run_once "other-$seed" "${other[@]}" RNG_SEED "$seed"; done
run_once spikingjelly-0 RNG_SEED 0 SNN.BACKEND spikingjelly

echo
exec python -m slowfast.evaluation.seeds "${runs[@]}"
