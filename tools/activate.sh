# Sourced by the run scripts, or in your own shell (bash or zsh), from anywhere: puts a Python with all that SpikeFast
# needs first in PATH. It is the active one where that has this checkout's slowfast and torch, else that of .venv beside
# this folder, made on first use.
#   SPIKEFAST_EXTRAS      extras of pyproject.toml to install too, such as cuda12
#   SPIKEFAST_ENV=active  install into the active environment (venv, conda, uv) instead of .venv

if [ -n "${ZSH_VERSION:-}" ]; then
    eval 'spikefast_here=${(%):-%x}' # this file; what bash says otherwise, and could not read
else
    spikefast_here=${BASH_SOURCE[0]}
fi
spikefast_root=$(cd "$(dirname "$spikefast_here")/.." && pwd)

spikefast_say() { echo "SpikeFast: $*" >&2; }

spikefast_find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null \
            && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    spikefast_say "Python 3.11 or newer is needed; none of python3, python3.13, python3.12, python3.11 is. Install one."
    return 1
}

# Whether the active Python has torch and this slowfast, not what lies in the current folder or bears its name.
spikefast_is_ready() {
    local other
    other=$(python -c '
import sys; sys.path[:] = filter(None, sys.path)
import importlib.util, os
found = importlib.util.find_spec("slowfast")
folder = os.path.dirname(found.origin) if found and found.origin else ""
if folder and os.path.realpath(folder) != os.path.realpath(sys.argv[1]):
    print(folder)
sys.exit(not (folder and importlib.util.find_spec("torch")))' "$spikefast_root/slowfast" 2>/dev/null) || return 1
    [ -z "$other" ] && return 0
    spikefast_say "the active environment has another slowfast, $other; .venv is used."
    return 1
}

# Usage: spikefast_wanted — the extras to install, a word each; a CuPy for CUDA 12 and one for 13 exclude each other.
spikefast_wanted() {
    local extras=" ${spikefast_extras:-} $(echo "${SPIKEFAST_EXTRAS:-}" | tr ',' ' ') "
    if [[ $extras == *" cuda12 "* && $extras == *" cuda13 "* ]]; then
        spikefast_say "SPIKEFAST_EXTRAS names cuda12 and cuda13, and only one can be installed. Leave one out."
        return 1
    fi
    if [[ $extras == *" cuda1"* ]]; then
        extras=$(echo "$extras" | sed 's/ dev / test /') # dev brings a CuPy of its own
    fi
    echo "$extras" | tr -s ' ' '\n' | sed '/^$/d' | sort -u
}

# Usage: spikefast_install PYTHON EXTRAS — by pip, or by uv where the environment has no pip.
spikefast_install() {
    local place="$spikefast_root" pip
    [ -z "$2" ] || place="${spikefast_root}[$(echo "$2" | paste -s -d , -)]" # the braces: zsh would take a part of it
    if "$1" -m pip --version >/dev/null 2>&1; then
        case $2 in
            *cuda12*) "$1" -m pip uninstall --quiet -y cupy-cuda13x >/dev/null 2>&1 ;;
            *cuda13* | *dev*) "$1" -m pip uninstall --quiet -y cupy-cuda12x >/dev/null 2>&1 ;;
        esac
        "$1" -m pip install --quiet --disable-pip-version-check -e "$place"
    elif command -v uv >/dev/null; then
        uv pip install --quiet --python "$1" -e "$place"
    else
        spikefast_say "$1 has no pip, and uv is not there. Install one of them."
        return 1
    fi
}

# Makes .venv, or adds to it what is missing. Its stamp, written last, says for which pyproject.toml it was made and
# with which extras, so that an installation which was interrupted is taken up again.
spikefast_make_venv() {
    local wanted=$1 venv="$spikefast_root/.venv" sum stamp there="" python
    stamp="$venv/spikefast-stamp"
    sum=$(cksum < "$spikefast_root/pyproject.toml")
    if [ -e "$stamp" ]; then
        there=$(sed 1d "$stamp")
        if [ "$(sed 1q "$stamp")" = "$sum" ] \
            && [ -z "$(echo "$wanted" | grep -vxF -e "${there:- }" | sed '/^$/d')" ]; then
            return
        fi
    fi
    if [ ! -w "$spikefast_root" ]; then
        spikefast_say "$spikefast_root is read-only, and its environment is to be made there. Copy it (cp -r) and start there."
        return 1
    fi
    python=$(spikefast_find_python) || return 1
    case $wanted in
        *cuda12*) there=$(echo "$there" | sed 's/^dev$/test/; /^cuda13$/d') ;;
        *cuda13*) there=$(echo "$there" | sed 's/^dev$/test/; /^cuda12$/d') ;;
    esac
    case $there in
        *cuda1*) wanted=$(echo "$wanted" | sed 's/^dev$/test/') ;;
    esac
    wanted=$(printf '%s\n%s\n' "$wanted" "$there" | sed '/^$/d' | sort -u)
    echo "Setting up $venv (once; a few minutes, mostly PyTorch) ..."
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" || return 1
    spikefast_install "$venv/bin/python" "$wanted" || return 1
    printf '%s\n%s\n' "$sum" "$wanted" > "$stamp"
}

spikefast_activate() {
    local wanted
    wanted=$(spikefast_wanted) || return 1
    if ! spikefast_is_ready; then
        if [ "${SPIKEFAST_ENV:-}" = active ]; then
            spikefast_install "$(command -v python)" "$wanted" || return 1
        else
            spikefast_make_venv "$wanted" || return 1
            export PATH="$spikefast_root/.venv/bin:$PATH"
            hash -r 2>/dev/null || true
        fi
    fi
    if [ -z "${CXX-}" ] && ! command -v g++ >/dev/null && ! command -v clang++ >/dev/null; then
        spikefast_say "no C++ compiler (g++, clang++): spiking layers run on torch's operators, slower on the CPU."
    fi
}

spikefast_activate || return 1
