#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/hmdb51/lists/split1, $DATA_ROOT/hmdb51/videos and $CKPT_ROOT/uniformer_small_k400_16x4.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=hmdb51/lists/split1 media=hmdb51/videos weights=uniformer_small_k400_16x4.pth
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
