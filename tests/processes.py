"""Processes that start in a fraction of a second: forked from a server that has imported what they need."""

import multiprocessing
import os
import sys
from pathlib import Path

import torch

START_METHOD = "forkserver"
CONTEXT = multiprocessing.get_context(START_METHOD)
CONTEXT.set_forkserver_preload(
    ["pytest", "slowfast.cli", "slowfast.engine", "slowfast.datasets.motion", "fvcore.nn.precise_bn"]
)


def begin(out: Path, err: Path) -> None:
    """Makes this process one of a test: one thread, and what it prints goes into files, perhaps the same."""
    torch.set_num_threads(1)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))


def command_line(words: list[str], out: Path, err: Path) -> None:
    """`tools/run_net.py` with these words, in a process of its own."""
    from slowfast.cli import main

    begin(out, err)
    raise SystemExit(main(words))
