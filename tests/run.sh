#!/usr/bin/env bash
# Sets up an environment on first use and runs the tests; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/activate.sh
exec python -m pytest "$@"
