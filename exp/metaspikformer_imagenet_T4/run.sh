#!/usr/bin/env bash
# Trains and tests with $DATA_ROOT/imagenet/{train,val} and $CKPT_ROOT/metaspikformer_55m_T1.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TRAIN.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet weights=metaspikformer_55m_T1.pth
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
