#!/usr/bin/env python3
"""Measures speed and memory, each figure beside a baseline that takes turns with it in the same run."""

import argparse
import importlib
from pathlib import Path

import _checkout  # noqa: F401  the slowfast beside it, in an environment that has what it needs
import torch

from slowfast.benchmark.against import compare
from slowfast.benchmark.common import Results, surroundings

SUBJECTS = {  # module of slowfast.benchmark -> what it measures
    "kernels": "spiking neurons alone, against SpikingJelly's",
    "layers": "norm with neuron, against one after the other and upstream's layers",
    "models": "whole models at full size, training step or evaluation, against upstream's layers",
    "runs": "training on several processes, sharded, with checkpoints, against one process",
    "data": "decoding and transforming videos, against the usual path of a video framework",
}
AGAINST = "another checkout of this project, such as a git worktree of an older commit: measures both in turns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    subjects = parser.add_subparsers(dest="subject", required=True)
    for name, meaning in SUBJECTS.items():
        module = importlib.import_module(f"slowfast.benchmark.{name}")
        subject = subjects.add_parser(name, help=meaning, description=meaning.capitalize() + ".")
        module.add_arguments(subject)
        subject.add_argument("--runs", type=int, default=20, help="measured runs of each candidate")
        subject.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
        subject.add_argument("--json", type=Path, help="also write the rows to this file")
        if hasattr(module, "measurements"):
            subject.add_argument("--against", type=Path, metavar="FOLDER", help=AGAINST)
        subject.set_defaults(module=module, against=None)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(", ".join(f"{key} {value}" for key, value in surroundings().items()))
    results = measure(args)
    results.print()
    if args.json:
        results.write(args.json)


def measure(args: argparse.Namespace) -> Results:
    module = args.module
    del args.module  # the rest of the arguments is sent to other processes
    if not args.against:
        return module.run(args)
    try:
        return compare(module.measurements(args), args.against, args.runs)
    except ValueError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
