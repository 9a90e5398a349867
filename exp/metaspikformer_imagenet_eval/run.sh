#!/usr/bin/env bash
# Tests the published weights with $DATA_ROOT/imagenet/lists, $DATA_ROOT/imagenet/images and $CKPT_ROOT/metaspikformer_55m_T4_kd.pth;
# KEY VALUE arguments override the config, e.g. NUM_GPUS 1 TEST.BATCH_SIZE 16.
set -euo pipefail
lists=imagenet/lists media=imagenet/images weights=metaspikformer_55m_T4_kd.pth weights_key=TEST.CHECKPOINT_FILE_PATH
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/experiment.sh"
