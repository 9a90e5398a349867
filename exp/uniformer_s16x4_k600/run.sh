#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/k600/lists, $DATA_ROOT/k600/videos and $CKPT_ROOT/uniformer_small_in1k.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=k600/lists media=k600/videos weights=uniformer_small_in1k.pth
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
