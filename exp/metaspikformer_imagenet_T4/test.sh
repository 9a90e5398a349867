#!/usr/bin/env bash
# Tests the checkpoint of run.sh, or the one given with TEST.CHECKPOINT_FILE_PATH; data as for run.sh.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" TRAIN.ENABLE False "$@"
