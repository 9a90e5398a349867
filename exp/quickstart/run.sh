#!/usr/bin/env bash
# Writes the embedded data set, trains a small SVFormer, validates and tests it; each run gets a folder of its own.
# KEY VALUE arguments override the config, e.g. SOLVER.MAX_EPOCH 5.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../tools/activate.sh"
exec python "$spikefast_root/tools/run_net.py" --cfg "$here/config.yaml" \
    OUTPUT_DIR "$here/output/$(date +%Y%m%d-%H%M%S)" DATA.PATH_TO_DATA_DIR "$spikefast_root/data/motion" "$@"
