#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/imagenet/lists, $DATA_ROOT/imagenet/images;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet/lists media=imagenet/images
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
