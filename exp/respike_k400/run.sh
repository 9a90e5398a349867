#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/k400/lists, $DATA_ROOT/k400/videos and $CKPT_ROOT/resnet18-f37072fd.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=k400/lists media=k400/videos weights=resnet18-f37072fd.pth weights_key=RESPIKE.PRETRAINED
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
