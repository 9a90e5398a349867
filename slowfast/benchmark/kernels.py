"""Spiking neurons alone: ours beside SpikingJelly 2.0's dispatch and, where a path is given, 0.0.0.0.14's backends."""

import argparse
from statistics import median

import torch

from slowfast.benchmark.common import DTYPES, Results, add_model_arguments, alternate, peak_memory, ratios
from slowfast.benchmark.upstream import load_old_spikingjelly, old_neuron
from slowfast.spiking import PLIF
from slowfast.spiking.neuron import build_surrogate

# [T, B, C, H, W] of real layers; B is 8 on a GPU and 1 on the CPU.
SHAPES = {
    "SVFormer stage 1": (16, 64, 56, 56),
    "SVFormer stage 2, MLP": (16, 512, 28, 28),
    "SVFormer stage 3": (16, 320, 14, 14),
    "ReSpike layer 1": (3, 64, 56, 56),
    "Meta-SpikeFormer stage 2": (4, 128, 28, 28),
    "Meta-SpikeFormer block 3, MLP": (4, 1536, 14, 14),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, cpu_batch=1)


def run(args: argparse.Namespace) -> Results:
    copy = copy_bandwidth(args.device, args.runs)
    old = load_old_spikingjelly(args.old_spikingjelly) if args.old_spikingjelly else None
    note = (
        f"PLIF on {args.device}, {args.dtype}, batch {args.batch}, {args.runs} alternated runs, medians. "
        "Bytes: forward x and s, backward grad s, x and grad x. "
        f"Copy bandwidth here: {copy / 1e9:.1f} GB/s (read and written). Old: SpikingJelly 0.0.0.0.14 as run, in fp32."
    )
    results = Results("Multi-step neurons", note)
    for name, (time_steps, *rest) in SHAPES.items():
        results.rows.append(measure(name, (time_steps, args.batch, *rest), args, old, copy))
    return results


def measure(name: str, shape: tuple[int, ...], args, old, copy: float) -> dict:
    dtype = DTYPES[args.dtype]
    forward, both, elements = {}, {}, torch.Size(shape).numel()
    for candidate, neuron, x in candidates(shape, dtype, args.device, old):
        grad = torch.randn_like(x)
        forward[candidate] = lambda neuron=neuron, x=x: without_gradient(neuron, x)
        both[candidate] = lambda neuron=neuron, x=x, grad=grad: forward_backward(neuron, x, grad)
    forward_seconds = alternate(forward, args.runs, args.device)
    both_seconds = alternate(both, args.runs, args.device)
    own_forward, own_both = median(forward_seconds["ours"]), median(both_seconds["ours"])
    row = {
        "layer": name,
        "elements": elements,
        "forward ms": 1e3 * own_forward,
        "backward ms": 1e3 * (own_both - own_forward),
        "forward / copy": 2 * elements * dtype.itemsize / own_forward / copy,
        "backward / copy": 3 * elements * dtype.itemsize / (own_both - own_forward) / copy,
    }
    for baseline in list(both)[1:]:
        row[f"x {baseline}"] = ratios(both_seconds, baseline)["ours"]
    peak = peak_memory(both["ours"], args.device)
    return row if peak is None else row | {"peak MB": peak / 1e6}


def candidates(shape: tuple[int, ...], dtype: torch.dtype, device: str, old):
    """Name, neuron, input of ours and the baselines; the old package ran in fp32."""
    surrogate = build_surrogate("atan", 2.0)
    own = PLIF(v_threshold=1.0, surrogate_function=surrogate, detach_reset=True, step_mode="m").to(device)
    x = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
    yield "ours", own, x
    theirs = PLIF(v_threshold=1.0, surrogate_function=surrogate, detach_reset=True, step_mode="m").to(device)
    theirs.backend = "spikingjelly"
    yield "SpikingJelly 2.0", theirs, x
    if old is not None:
        for backend in ("torch", "cupy") if device.startswith("cuda") else ("torch",):
            node = old_neuron(old, own, backend).to(device)
            yield f"old {backend}", lambda x, node=node: (node.reset(), node(x))[1], x.detach().float().requires_grad_()


def without_gradient(neuron, x: torch.Tensor) -> None:
    with torch.no_grad():
        neuron(x)


def forward_backward(neuron, x: torch.Tensor, grad: torch.Tensor) -> None:
    torch.autograd.grad(neuron(x), x, grad)


def copy_bandwidth(device: str, runs: int) -> float:
    """Bytes a second, read and written, of copying 256 MB (CPU: 64 MB) within the device's memory."""
    source = torch.empty((256 if device.startswith("cuda") else 64) << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = alternate({"copy": lambda: target.copy_(source)}, runs, device)["copy"]
    return 2 * source.numel() / median(seconds)
