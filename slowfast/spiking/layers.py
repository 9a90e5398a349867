"""Small layers and helpers for sequences [T, B, ...]."""

from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slowfast.spiking.norm import frozen_statistics


def per_step(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer` applied to every time step of [T, B, ...] with shared weights: T and B as one batch."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class DropPath(nn.Module):
    """Stochastic depth on [T, B, ...]: drops the branch of whole samples, all their time steps together.

    A mask over the first axis, which is time here, would blank a time step of the whole batch instead.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty([1, x.shape[1]] + [1] * (x.dim() - 2)).bernoulli_(keep)
        return x * mask.div_(keep)


def checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """`block(x)` that keeps only its input for backward; running statistics are updated once, not twice."""
    return checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics()))
