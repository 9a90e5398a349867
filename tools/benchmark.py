#!/usr/bin/env python3
"""Measures speed and memory, each figure beside a baseline that takes turns with it in the same run."""

import argparse
import importlib
from pathlib import Path

import torch

from slowfast.benchmark.common import machine

SUBJECTS = {  # module of slowfast.benchmark -> what it measures
    "kernels": "spiking neurons alone, against SpikingJelly's",
    "layers": "norm with neuron, against one after the other and upstream's layers",
    "models": "whole models at full size, training step or evaluation, against upstream's layers",
    "runs": "training on several processes, sharded, with checkpoints, against one process",
    "data": "decoding and transforming videos, against the usual path of a video framework",
}


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
        subject.set_defaults(run=module.run)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    results = args.run(args)
    results.print()
    if args.json:
        results.write(args.json)


if __name__ == "__main__":
    main()
