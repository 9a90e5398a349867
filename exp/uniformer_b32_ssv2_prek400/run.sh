#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/ssv2/lists, $DATA_ROOT/ssv2/frames and $CKPT_ROOT/uniformer_base_k400_16x4.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=ssv2/lists media=ssv2/frames weights=uniformer_base_k400_16x4.pth
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
