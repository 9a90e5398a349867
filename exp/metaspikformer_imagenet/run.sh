#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/imagenet/{train,val};
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
