#!/usr/bin/env bash
# Sets up an environment on first use and runs the tests, without those marked slow; arguments go to pytest.
# -m "" runs the slow ones too. Where pytest-xdist is installed two processes share the tests out.
set -euo pipefail
cd "$(dirname "$0")/.."
spikefast_extras=dev
source tools/activate.sh
workers=()
if python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('xdist') is None)"; then
    workers=(-n 2 --dist worksteal)
fi
exec python -m pytest ${workers[@]+"${workers[@]}"} -m "not slow" "$@"
