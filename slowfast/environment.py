"""Whether this Python has what is needed; else a program goes on in the checkout's own .venv, or says what to do.

Standard library only, for it is imported first; and in the syntax of older Pythons, which are told to be too old.
"""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
NEEDED = ("torch", "torchvision", "spikingjelly", "fvcore", "yacs", "av")
AGAIN = "SPIKEFAST_RUNS_IN_VENV"  # in the environment of a program that has been started again


def require_environment():
    """Starts a program again in .venv where this Python lacks a package.

    Raises:
        ImportError: a package is missing, and there is no .venv that could have it; with what to do.
    """
    lacking = missing()
    started_again = os.environ.pop(AGAIN, None)
    if not lacking:
        return
    python = os.path.join(ROOT, ".venv", "bin", "python")
    if is_program() and not started_again and os.access(python, os.X_OK):
        os.environ[AGAIN] = "yes"
        os.execv(python, [python, *sys.orig_argv[1:]])
    said = "SpikeFast needs {}, which {} has not. Type `source {}` first, or install it: pip install -e {}".format(
        lacking, sys.executable, os.path.join(ROOT, "tools", "activate.sh"), ROOT
    )
    if is_program():
        sys.exit(said)
    raise ImportError(said)


def missing():
    """What this Python lacks, in words; empty: nothing."""
    if sys.version_info < OLDEST:
        return "Python {}.{} or newer".format(*OLDEST)
    return next((name for name in NEEDED if importlib.util.find_spec(name) is None), "")


def is_program():
    """Whether it is `python -m slowfast...` or one of tools/ that imports this, and not a user's own code."""
    started = sys.argv[0] if sys.argv else ""
    folder = os.path.dirname(os.path.realpath(started))
    return hasattr(sys, "orig_argv") and (started == "-m" or folder == os.path.join(os.path.realpath(ROOT), "tools"))
