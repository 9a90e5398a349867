#!/usr/bin/env bash
# Tests the published weights, $CKPT_ROOT/metaspikformer_55m_T4_kd.pth, on $DATA_ROOT/imagenet/val;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TEST.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet weights=metaspikformer_55m_T4_kd.pth weights_key=TEST.CHECKPOINT_FILE_PATH
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
