"""Whole models at their published input, evaluation and training step, beside the same models on upstream's layers."""

import argparse
from functools import partial

import torch

from slowfast.benchmark.against import Measurement
from slowfast.benchmark.common import DTYPES, Results, add_model_arguments
from slowfast.benchmark.layers import VARIANTS, compare, variant
from slowfast.benchmark.model_steps import MODELS, model_and_inputs, stepper, steps
from slowfast.benchmark.separate import SeparateProcess
from slowfast.benchmark.stepwise import StepwiseBranch, single_step
from slowfast.benchmark.upstream import load_old_spikingjelly, old_neuron

STEPWISE = ("respike", "respike_down")  # published as a loop over time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, cpu_batch=2)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["svformer"], help="default: svformer")
    parser.add_argument("--mode", choices=["train", "eval"], help="default: train; with --against both")


def measurements(args: argparse.Namespace) -> list[Measurement]:
    """What --against compares."""
    modes = (args.mode,) if args.mode else ("train", "eval")
    how = (args.batch, args.device, DTYPES[args.dtype])
    keeps_memory = args.device == "cpu"
    return [Measurement(name, steps, (MODELS[name], *how), modes, keeps_memory) for name in args.models]


def run(args: argparse.Namespace) -> Results:
    args.mode = args.mode or "train"
    what = "zero_grad, forward, cross-entropy, backward, AdamW" if args.mode == "train" else "forward in evaluation"
    note = (
        f"{args.device}, {args.dtype}, batch {args.batch}, {torch.get_num_threads()} CPU threads, {args.runs} "
        f"alternated runs, medians: {what}. Unfused: each norm, then its neuron. Upstream: SpikingJelly 0.0.0.0.14, "
        "norms that copy (ReSpike: one time step after the other), fp32. Stepwise: ReSpike's time steps one after the "
        "other on the installed SpikingJelly. On the CPU each lives in a process of its own: ours as the engine sets "
        "it up, upstream on the C library's defaults."
    )
    results = Results(f"Models, {args.mode}", note)
    for name in args.models:
        results.rows.append(measure(name, args))
    return results


def measure(name: str, args: argparse.Namespace) -> dict:
    """A row: ours in turns with all baselines; on the CPU, for want of memory, with one after the other."""
    names = VARIANTS if args.old_spikingjelly else VARIANTS[:2]
    names += ("stepwise",) if name in STEPWISE else ()
    if args.device.startswith("cuda"):
        return compare(name, {which: model_step(name, which, args) for which in names}, args)
    row = {}
    for baseline in names[1:]:
        pair = {
            which: SeparateProcess(model_step, name, which, args, keeps_memory=which != "upstream")
            for which in ("ours", baseline)
        }
        row |= compare(name, pair, args)
        for step in pair.values():
            step.close()
    return row


def model_step(name: str, which: str, args: argparse.Namespace):
    """A function that does one step of a variant, on random clips that are the same for all."""
    model, clips, labels = model_and_inputs(MODELS[name], args.batch, args.device)
    if name in STEPWISE and which in ("upstream", "stepwise"):
        model.snn_backbone = StepwiseBranch(model.snn_backbone, single_steps(which, args))
    else:
        model = variant(model, which, args)
    dtype = torch.float32 if which == "upstream" else DTYPES[args.dtype]
    return stepper(model, dtype, clips, labels, args.mode == "train")


def single_steps(which: str, args: argparse.Namespace):
    """What makes the neurons of a branch that is stepped through time."""
    if which == "stepwise":
        return single_step
    return partial(old_neuron, load_old_spikingjelly(args.old_spikingjelly), backend="torch", step_mode="s")
