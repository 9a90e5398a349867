"""The operators by neuron.cu, compiled by an engine: NVRTC for CUDA devices (`cuda`), a C++ compiler for CPUs (`cpu`).

Tensors are [T, B, C, ...], those of a neuron alone [T, ...]; parameters of an affine are [T, C] fp32, `k` is [C].
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from slowfast.spiking.dynamics import Dynamics
from slowfast.spiking.kernels.layout import Layout, as_block, dense, like, same_order
from slowfast.spiking.kernels.source import BATCH, Variant

# The tensors of each kernel in their order: sequences are like y, states like one of its steps, rows are [T, C].
ROLES = {
    "forward": ("sequence", "rows", "rows", "k", "state", "sequence", "state"),
    "backward": ("sequence", "state", "sequence", "rows", "rows", "rows", "k", "state", "sequence", "state"),
    "moments": ("sequence",),
    "combine": ("sequence", "sequence", "rows", "rows", "rows", "sequence"),
}


class Engine(Protocol):
    """What compiles the text and runs it."""

    threads: int  # of a block

    def vector(self, kernel: str, dynamics: Dynamics | None, layout: Layout, affine: bool, stored: list[Tensor]) -> int:
        """How many neighbouring neurons a thread follows, a divisor of `layout.run`; `stored` are the sequences."""

    def blocks(self, where: torch.device) -> int:
        """Blocks that keep the device busy."""

    def launch(
        self, kernel: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, where
    ) -> None:
        """Runs a kernel on (blocks over channels, over positions) with `shared` bytes for each block."""


class CompiledKernels:
    """The operators of `eager`, on one engine."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def fire(self, y: Tensor, scale, shift, k, v, dynamics: Dynamics | None) -> tuple[Tensor, Tensor]:
        y, layout = dense(y, scale is not None)
        out = torch.empty_like(y)
        v = None if v is None else like(v, y[0])
        v_after = None if v is None else torch.empty_like(v)
        self.run("forward", dynamics, y, layout, scale is not None, (y, scale, shift, k, v, out, v_after))
        return out, nothing(y) if v is None else v_after

    def fire_backward(self, grad_out: Tensor, grad_v_after, y: Tensor, scale, shift, mean, k, v, dynamics):
        y, layout = dense(y, scale is not None)
        time_steps = y.shape[0]
        grad_out, grad_in = like(grad_out, y), torch.empty_like(y)
        v = None if v is None else like(v, y[0])
        grad_v_after = None if grad_v_after is None else like(grad_v_after, y[0])
        grad_v = None if v is None else torch.empty_like(v)
        arguments = (grad_out, grad_v_after, y, scale, shift, mean, k, v, grad_in, grad_v)
        totals = self.run("backward", dynamics, y, layout, scale is not None, arguments)
        sums = nothing(y) if scale is None else totals[: 2 * time_steps].clone().view(2, time_steps, -1)
        grad_k = nothing(y) if k is None else totals[-1].clone()
        return grad_in, nothing(y) if v is None else grad_v, sums, grad_k

    def moments(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y, layout = dense(y, True)
        totals = self.run("moments", None, y, layout, True, (y,))
        first, second = (totals / (layout.outer * layout.inner)).view(2, y.shape[0], -1)
        return as_block(y, layout)[:, 0, :, 0].float() + first, (second - first.square()).clamp_min_(0)

    def combine(self, grad: Tensor, y: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        y, layout = dense(y, True)
        self.run("combine", None, y, layout, True, (grad, y, a, b, c, grad))
        return grad

    def run(self, kernel: str, dynamics, y: Tensor, layout: Layout, affine: bool, tensors: tuple) -> Tensor | None:
        """Runs a kernel over all of y and returns the sums [count, C] it forms over the positions, if any.

        Tensors go by address, None as null; sizes and constants follow them.
        """
        stored = [tensor for tensor, role in zip(tensors, ROLES[kernel], strict=True) if role == "sequence"]
        vector = self.engine.vector(kernel, dynamics, layout, affine, stored)
        variant = Variant(dynamics, y.dtype, y.shape[0], vector, layout.channels_last, affine)
        grid, block = self.grid(variant, layout, y.device)
        count = {"backward": variant.sums, "moments": 2 * y.shape[0]}.get(kernel)
        partials = None if count is None else y.new_zeros((grid[1], count, layout.channels), dtype=torch.float32)
        if y.numel():
            check_arguments(kernel, tensors, y, layout)
            tensors = tensors if partials is None else (*tensors, partials)
            values = [np.uint64(0 if tensor is None else tensor.data_ptr()) for tensor in tensors]
            values += [np.int64(size) for size in layout[:3]]
            if kernel in ("forward", "backward"):
                values += constants(dynamics)
            lanes = vector if layout.channels_last else 1
            shared = 0 if partials is None else BATCH * block[0] * lanes * (block[1] + 1) * partials.element_size()
            self.engine.launch(kernel, variant, grid, block, shared, tuple(values), y.device)
        return None if partials is None else partials.sum(0)

    def grid(self, variant: Variant, layout: Layout, where: torch.device) -> tuple[tuple[int, int], tuple[int, int]]:
        """Blocks and threads of a block, each over channels and over positions.

        Enough blocks to fill the device, few enough that their partial sums are soon added.
        """
        across, columns, positions = 1, layout.channels, layout.outer * layout.inner // variant.vector
        if layout.channels_last:
            vectors = layout.channels // variant.vector
            across = min(32, self.engine.threads, 1 << (vectors - 1).bit_length())
            columns, positions = -(-vectors // across), layout.outer
        along = self.engine.threads // across
        wanted = -(-self.engine.blocks(where) // max(columns, 1))
        return (columns, max(1, min(wanted, -(-positions // along), 65535))), (across, along)


def check_arguments(kernel: str, tensors: tuple, y: Tensor, layout: Layout) -> None:
    """Refuses what the kernel would read or write as something else: it sees addresses and the sizes of y alone.

    Raises:
        RuntimeError: an argument of another dtype, shape, device or memory order than its role has.
    """
    device = y.device
    expected = {
        "sequence": (y.dtype, y.shape, y.stride()),
        "rows": (torch.float32, (y.shape[0], layout.channels), (layout.channels, 1)),
        "k": (torch.float32, (layout.channels,), (1,)),
    }
    for tensor, role in zip(tensors, ROLES[kernel], strict=True):
        if tensor is None:
            continue
        if role == "state":
            expected[role] = (torch.float32, y.shape[1:], y.stride()[1:])
        dtype, shape, strides = wanted = expected[role]
        given = (tensor.dtype, tensor.shape, tensor.stride())
        fits = given == wanted or (given[:2] == wanted[:2] and same_order(given[2], strides, shape))
        if not fits or tensor.device != device:
            raise RuntimeError(
                f"Kernel {kernel} takes as {role} {dtype} {tuple(shape)} with strides {strides} on {device}; got "
                f"{given[0]} {tuple(given[1])} with strides {given[2]} on {tensor.device}."
            )


def nothing(y: Tensor) -> Tensor:
    """What an operator returns where there is nothing to return; always a new tensor, as torch demands."""
    return y.new_empty(0, dtype=torch.float32)


def constants(dynamics: Dynamics | None) -> list[np.float32]:
    values = (
        (0, 0, 0, 0) if dynamics is None else (dynamics.v_threshold, dynamics.rest, dynamics.alpha, dynamics.k or 0)
    )
    return [np.float32(value) for value in values]
