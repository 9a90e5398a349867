#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/hmdb51/lists/split1, $DATA_ROOT/hmdb51/videos and $CKPT_ROOT/resnet18-f37072fd.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=hmdb51/lists/split1 media=hmdb51/videos weights=resnet18-f37072fd.pth weights_key=RESPIKE.PRETRAINED
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
