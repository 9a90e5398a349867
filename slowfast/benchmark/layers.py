"""Norm with neuron beside the unfused pair and upstream's layers."""

import argparse
import copy
from statistics import median

import torch
from torch import nn

from slowfast.benchmark.common import DTYPES, Results, add_model_arguments, alternate, peak_memory, ratios
from slowfast.benchmark.kernels import SHAPES, forward_backward
from slowfast.benchmark.upstream import load_old_spikingjelly, to_upstream
from slowfast.spiking import PLIF, TimeStepBatchNorm
from slowfast.spiking.neuron import build_surrogate
from slowfast.spiking.node import SpikingNeuron

VARIANTS = ("ours", "unfused", "upstream")  # upstream where its SpikingJelly is given


class Pair(nn.Module):
    """A per-step norm and the neuron behind it."""

    def __init__(self, channels: int, time_steps: int):
        super().__init__()
        self.norm = TimeStepBatchNorm(channels, time_steps)
        surrogate = build_surrogate("atan", 2.0)
        self.neuron = PLIF(v_threshold=1.0, surrogate_function=surrogate, detach_reset=True, step_mode="m")

    def forward(self, x):
        return self.neuron(x, norm=self.norm)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, cpu_batch=2)


def run(args: argparse.Namespace) -> Results:
    note = (
        f"{args.device}, {args.dtype}, batch {args.batch}, {torch.get_num_threads()} CPU threads, {args.runs} "
        "alternated runs, medians. Unfused: the norm, then the neuron. Upstream: SpikingJelly 0.0.0.0.14, a norm "
        "that copies, fp32."
    )
    results = Results("Per-step norm and PLIF, forward and backward", note)
    for name, (time_steps, channels, *space) in SHAPES.items():
        shape = (time_steps, args.batch, channels, *space)
        results.rows.append(compare(name, layer_steps(shape, args), args))
    return results


def compare(name: str, steps: dict, args) -> dict:
    seconds = alternate(steps, args.runs, args.device)
    row = {"subject": name, "ours ms": 1e3 * median(seconds["ours"])}
    for baseline in list(steps)[1:]:
        row[f"x {baseline}"] = ratios(seconds, baseline)["ours"]
    for candidate, step in steps.items():
        peak = peak_memory(step, args.device)
        if peak is not None:
            row[f"peak MB {candidate}"] = peak / 1e6
    return row


def variant(own: nn.Module, which: str, args) -> nn.Module:
    """The module as it is ("ours"), with fusion off ("unfused"), or on upstream's layers ("upstream")."""
    if which == "upstream":
        backend = "cupy" if args.device.startswith("cuda") else "torch"
        return to_upstream(own, load_old_spikingjelly(args.old_spikingjelly), backend)
    for module in own.modules():
        if isinstance(module, SpikingNeuron):
            module.fuse_norm = which == "ours"
    return own


def layer_steps(shape: tuple[int, ...], args) -> dict:
    x = torch.randn(shape, device=args.device, dtype=DTYPES[args.dtype], requires_grad=True)
    own = Pair(shape[2], shape[0]).to(args.device)
    steps = {}
    for name in VARIANTS if args.old_spikingjelly else VARIANTS[:2]:
        pair = variant(copy.deepcopy(own), name, args)
        leaf = x.detach().float().requires_grad_() if name == "upstream" else x
        grad = torch.randn_like(leaf)
        steps[name] = lambda pair=pair, leaf=leaf, grad=grad: forward_backward(pair, leaf, grad)
    return steps
