#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/imagenet/lists, $DATA_ROOT/imagenet/images and $CKPT_ROOT/metaspikformer_55m_T1.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet/lists media=imagenet/images weights=metaspikformer_55m_T1.pth
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
