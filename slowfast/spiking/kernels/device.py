"""The operators on a CUDA device: neuron.cu through CuPy, on torch's stream, in torch's memory.

The functions mirror those of `host`; tensors are [T, B, C, ...] (a neuron alone: [T, ...]), parameters [T, C] fp32.
"""

import importlib.util
from functools import cache

import numpy as np
import torch
from torch import Tensor

from slowfast.spiking.dynamics import Dynamics
from slowfast.spiking.kernels.layout import Layout, as_block, dense, like
from slowfast.spiking.kernels.source import BATCH, Variant, kernel_source
from slowfast.utils.logging import logger

THREADS = 256
BLOCKS_PER_PROCESSOR = 16


def available() -> bool:
    """Whether CuPy is installed and torch sees a CUDA device."""
    return torch.cuda.is_available() and importlib.util.find_spec("cupy") is not None


def fire(y: Tensor, scale, shift, k, v, dynamics: Dynamics | None) -> tuple[Tensor, Tensor]:
    """Spikes of `dynamics` (None: only the affine) for y * scale + shift, and the potential after T if v is given."""
    y, layout = dense(y, scale is not None)
    out = torch.empty_like(y)
    v = None if v is None else like(v, y[0], torch.float32)
    v_after = None if v is None else torch.empty_like(v)
    if y.numel():
        variant = pick(dynamics, y, layout, scale is not None, largest=16 // y.element_size())
        arguments = [y, scale, shift, k, v, out, v_after, *shape(layout), *constants(dynamics)]
        run(variant, "forward", y, layout, arguments)
    return out, y.new_empty(0, dtype=torch.float32) if v is None else v_after


def fire_backward(grad_out: Tensor, grad_v_after, y: Tensor, scale, shift, mean, k, v, dynamics: Dynamics | None):
    """Gradients behind the affine: of the neuron's input, of v, sums [2, T, C] (as `host`), of k [C]."""
    y, layout = dense(y, scale is not None)
    grad_out = like(grad_out, y)
    grad_in, time_steps = torch.empty_like(y), y.shape[0]
    v = None if v is None else like(v, y[0], torch.float32)
    grad_v_after = None if grad_v_after is None else like(grad_v_after, y[0], torch.float32)
    grad_v = None if v is None else torch.empty_like(v)
    variant = pick(
        dynamics, y, layout, scale is not None, largest=2 if layout.channels_last and scale is not None else 4
    )
    splits = launch_splits(variant, y, layout)
    partials = y.new_zeros((splits, variant.sums, layout.channels), dtype=torch.float32)
    if y.numel():
        arguments = [grad_out, grad_v_after, y, scale, shift, mean, k, v, grad_in, grad_v, partials]
        run(variant, "backward", y, layout, [*arguments, *shape(layout), *constants(dynamics)])
    totals = partials.sum(0)
    sums = (
        totals[: 2 * time_steps].clone().view(2, time_steps, -1)
        if variant.affine
        else y.new_empty(0, dtype=torch.float32)
    )
    grad_k = totals[-1].clone() if k is not None else y.new_empty(0, dtype=torch.float32)
    return grad_in, y.new_empty(0, dtype=torch.float32) if v is None else grad_v, sums, grad_k


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [T, C] of y [T, B, C, ...] over B and the dimensions behind C."""
    y, layout = dense(y, True)
    variant = pick(None, y, layout, True, largest=2 if layout.channels_last else 16 // y.element_size())
    partials = y.new_zeros((launch_splits(variant, y, layout), 2 * y.shape[0], layout.channels), dtype=torch.float32)
    run(variant, "moments", y, layout, [y, partials, *shape(layout)])
    first, second = (partials.sum(0) / (layout.outer * layout.inner)).view(2, y.shape[0], -1)
    return as_block(y, layout)[:, 0, :, 0].float() + first, (second - first.square()).clamp_min(0)


def combine(grad: Tensor, y: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """grad * a + y * b + c, in the memory of `grad`, which fire_backward has just made."""
    y, layout = dense(y, True)
    if y.numel():
        variant = pick(None, y, layout, True, largest=16 // y.element_size())
        run(variant, "combine", y, layout, [grad, y, a, b, c, grad, *shape(layout)])
    return grad


def pick(dynamics, y: Tensor, layout: Layout, affine: bool, largest: int) -> Variant:
    """The variant for this tensor, with the widest access of at most `largest` elements that fits it."""
    run = layout.channels if layout.channels_last else layout.inner
    vector = largest
    while run % vector or y.data_ptr() % (vector * y.element_size()):
        vector //= 2
    return Variant(dynamics, y.dtype, y.shape[0], vector, layout.channels_last, affine)


def shape(layout: Layout) -> tuple:
    return np.int64(layout.outer), np.int64(layout.channels), np.int64(layout.inner)


def constants(dynamics: Dynamics | None) -> tuple:
    if dynamics is None:
        return (np.float32(0),) * 4
    values = (dynamics.v_threshold, dynamics.rest, dynamics.alpha, dynamics.k or 0.0)
    return tuple(map(np.float32, values))


def block(variant: Variant, layout: Layout) -> tuple[int, int]:
    """Threads over channels and over positions."""
    if not layout.channels_last:
        return 1, THREADS
    across = min(32, 1 << (layout.channels // variant.vector - 1).bit_length())
    return across, THREADS // across


def launch_splits(variant: Variant, y: Tensor, layout: Layout) -> int:
    """Blocks along the positions: enough to fill the device, few enough to sum their partials quickly."""
    across, along = block(variant, layout)
    positions = layout.outer if layout.channels_last else layout.outer * layout.inner // variant.vector
    columns = grid_columns(variant, layout, across)
    wanted = -(-processors(y.device) * BLOCKS_PER_PROCESSOR // columns)
    return max(1, min(wanted, -(-positions // along), 65535))


def grid_columns(variant: Variant, layout: Layout, across: int) -> int:
    return -(-layout.channels // (across * variant.vector)) if layout.channels_last else layout.channels


@cache
def processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def run(variant: Variant, name: str, y: Tensor, layout: Layout, arguments: list) -> None:
    """Runs a kernel over all of y; tensors among the arguments are passed by address, None as null."""
    across, along = block(variant, layout)
    grid = (grid_columns(variant, layout, across), launch_splits(variant, y, layout))
    lanes = variant.vector if layout.channels_last else 1
    shared = BATCH * across * lanes * (along + 1) * 4 if name in ("backward", "moments") else 0
    values = tuple(argument if isinstance(argument, np.generic) else pointer(argument) for argument in arguments)
    launch(name, variant, grid, (across, along), shared, values, y.device)


def launch(
    name: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, on: torch.device
) -> None:
    """Queues a kernel on torch's current stream of that device."""
    import cupy

    with torch.cuda.device(on), cupy.cuda.ExternalStream(torch.cuda.current_stream(on).cuda_stream, on.index):
        compiled(variant).get_function(name)(grid, block, values, shared_mem=shared)


def pointer(tensor: Tensor | None) -> np.uint64:
    return np.uint64(0 if tensor is None else tensor.data_ptr())


# Without contraction a * b + c rounds as the CPU does, and a stream of single steps equals one long call exactly.
OPTIONS = ("--std=c++14", "--fmad=false")


@cache
def compiled(variant: Variant):
    """The variant's CuPy module; CuPy keeps compiled text on disk for the next process."""
    import cupy

    neuron = variant.dynamics.charge if variant.dynamics else "normalisation"
    logger.info("Preparing the CUDA kernel for %s, T %d, %s.", neuron, variant.time_steps, variant.dtype)
    return cupy.RawModule(code=kernel_source(variant), options=OPTIONS)
