#!/usr/bin/env bash
# Trains and tests. DATA_ROOT holds ucf101/lists/split1/{train,val,test}.csv and ucf101/videos (DATASET.md);
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../tools/activate.sh"
exec python "$spikefast_root/tools/run_net.py" --cfg "$here/config.yaml" OUTPUT_DIR "$here/output" \
    ${DATA_ROOT:+DATA.PATH_TO_DATA_DIR "$DATA_ROOT/ucf101/lists/split1" DATA.PATH_PREFIX "$DATA_ROOT/ucf101/videos"} "$@"
