"""How a sequence lies in memory: one block [T, outer, channels, inner] with time outermost."""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """Sizes of the block; `channels_last` where neighbours in memory are different channels (inner is 1)."""

    outer: int
    channels: int
    inner: int
    channels_last: bool

    @property
    def run(self) -> int:
        """How many elements lie side by side that threads may share out."""
        return self.channels if self.channels_last else self.inner


def dense(x: Tensor, by_channel: bool) -> tuple[Tensor, Layout]:
    """x, copied only where its memory is no such block, and its layout.

    x is [T, B, C, ...], in memory like that or with C innermost; without `by_channel` [T, ...] in any order.
    """
    if not by_channel:
        return x if is_dense(x) else x.contiguous(), Layout(1, 1, x[0].numel(), False)
    batch, channels, size = x.shape[1], x.shape[2], x.shape[3:].numel()
    if size == 1 or x.movedim(2, -1).is_contiguous():
        return x.movedim(2, -1).contiguous().movedim(-1, 2), Layout(batch * size, channels, 1, True)
    return x.contiguous(), Layout(batch, channels, size, False)


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill one block of memory with time outermost."""
    dims = sorted((d for d in range(x.dim()) if x.shape[d] > 1), key=x.stride, reverse=True)
    if x.shape[0] > 1 and dims[0] != 0:
        return False
    expected = 1
    for d in reversed(dims):
        if x.stride(d) != expected:
            return False
        expected *= x.shape[d]
    return True


def like(x: Tensor, y: Tensor) -> Tensor:
    """x with the memory order of y, copied only where it differs."""
    return x if same_order(x.stride(), y.stride(), y.shape) else torch.empty_like(y, dtype=x.dtype).copy_(x)


def same_order(strides: tuple, others: tuple, shape: tuple) -> bool:
    """Whether both are strides of the same memory order for `shape`, in which that of a size of 1 says nothing."""
    return all(a == b or size == 1 for a, b, size in zip(strides, others, shape, strict=True))


def as_block(x: Tensor, layout: Layout) -> Tensor:
    """The view [T, outer, channels, inner] of a dense sequence."""
    strides = (layout.channels * layout.inner, layout.inner, 1)
    return x.as_strided((x.shape[0], *layout[:3]), (layout.outer * strides[0], *strides), x.storage_offset())


def step_as_block(x: Tensor | None, layout: Layout) -> Tensor | None:
    """The view [outer, channels, inner] of one step of a dense sequence."""
    return None if x is None else as_block(x[None], layout)[0]
