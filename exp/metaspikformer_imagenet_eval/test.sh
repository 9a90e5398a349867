#!/usr/bin/env bash
# The same as run.sh; data as for run.sh.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" "$@"
