# Sourced by the run scripts, from anywhere: puts a Python that can import slowfast first in PATH.
# The active environment is used when it has slowfast; else .venv beside this folder, made on first use.
# SPIKEFAST_EXTRAS adds extras of setup.py to the installation, such as cuda12.

spikefast_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

spikefast_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

spikefast_find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && spikefast_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "SpikeFast needs Python 3.11 or newer; none of python3, python3.13, python3.12, python3.11 is." >&2
    return 1
}

# Usage: spikefast_install EXTRAS STAMP — the stamp says which setup.py and extras .venv was made for.
spikefast_install() {
    local python
    python=$(spikefast_find_python) || return 1
    echo "Setting up $spikefast_root/.venv (once; a few minutes, mostly PyTorch) ..."
    [ -x "$spikefast_root/.venv/bin/python" ] || "$python" -m venv "$spikefast_root/.venv" || return 1
    "$spikefast_root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -e "$spikefast_root[$1]" || return 1
    echo "$2" > "$spikefast_root/.venv/spikefast-stamp"
}

spikefast_activate() {
    local extras="dev${SPIKEFAST_EXTRAS:+,$SPIKEFAST_EXTRAS}" stamp
    if python -c "import importlib.util as u, sys; sys.exit(not (u.find_spec('slowfast') and u.find_spec('torch')))" 2>/dev/null; then
        return
    fi
    stamp="$extras $(cksum < "$spikefast_root/setup.py")"
    if [ "$(cat "$spikefast_root/.venv/spikefast-stamp" 2>/dev/null)" != "$stamp" ]; then
        spikefast_install "$extras" "$stamp" || return 1
    fi
    export PATH="$spikefast_root/.venv/bin:$PATH"
}

spikefast_activate || exit 1
