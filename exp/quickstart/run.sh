#!/usr/bin/env bash
# Writes the embedded data set, trains a small SVFormer, validates and tests it; each run gets a folder of its own, to
# which output/last leads. Interrupted and started again with the same arguments, it continues that run.
# KEY VALUE arguments override the config, e.g. SOLVER.MAX_EPOCH 5.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../tools/activate.sh"

# Usage: unfinished RECIPE — the newest run of these arguments and this config.yaml, if it has ended before its end.
unfinished() {
    local run newest=
    for run in "$here"/output/[0-9]*/; do
        if [ "$(cat "$run.recipe" 2>/dev/null)" = "$1" ]; then newest=${run%/}; fi
    done
    if [ -n "$newest" ] && ! grep -q "Done in .* Everything is in" "$newest/stdout.log" 2>/dev/null \
        && ! kill -0 "$(cat "$newest/.pid" 2>/dev/null)" 2>/dev/null; then
        echo "$newest"
    fi
}

# Usage: new_run — a folder of its own, also for runs that start in the same second.
new_run() {
    local run
    until run=$here/output/$(date +%Y%m%d-%H%M%S) && mkdir -p "$here/output" && mkdir "$run" 2>/dev/null; do
        if [ ! -d "$run" ]; then
            echo "$run cannot be made. Give OUTPUT_DIR and a folder that can be written as arguments." >&2
            return 1
        fi
        sleep 1
    done
    echo "$run"
}

output=()
if [[ " $* " != *" OUTPUT_DIR "* ]]; then
    recipe=$(cat "$here/config.yaml" && printf '%s\n' "$@")
    run=$(unfinished "$recipe")
    if [ -n "$run" ]; then
        echo "Continuing $run, which was interrupted. (Remove it to begin anew.)"
    else
        run=$(new_run)
        printf '%s\n' "$recipe" > "$run/.recipe"
    fi
    echo $$ > "$run/.pid" # which exec keeps
    ln -s "$(basename "$run")" "$here/output/.last.$$"
    python -c 'import os, sys; os.replace(*sys.argv[1:])' "$here/output/.last.$$" "$here/output/last"
    output=(OUTPUT_DIR "$run")
fi
exec python "$spikefast_root/tools/run_net.py" --cfg "$here/config.yaml" \
    DATA.PATH_TO_DATA_DIR "$spikefast_root/data/motion" ${output[@]+"${output[@]}"} "$@"
