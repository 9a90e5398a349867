#!/usr/bin/env bash
# Tests the newest run of run.sh again, 3 clips x 3 crops; KEY VALUE arguments override the config.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
newest=$(ls -d "$here"/output/[0-9]*/checkpoints 2>/dev/null | tail -n 1 || true)
exec bash "$here/run.sh" TRAIN.ENABLE False ${newest:+OUTPUT_DIR "${newest%/checkpoints}"} "$@"
