"""Batch norms over sequences [T, B, C, ...]: one set of statistics per time step, or one for all.

All of them keep the parameter and buffer names of `nn.BatchNorm2d`, can take their statistics over every
process (`synchronize_norms`, on CPU too, where `nn.SyncBatchNorm` does not exist), and leave the running
statistics alone while activation checkpointing runs a block a second time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.utils.distributed import get_world_size

_updates_statistics: ContextVar[bool] = ContextVar("updates_statistics", default=True)


@contextmanager
def frozen_statistics() -> Iterator[None]:
    """Within it a training forward normalises as usual but does not touch the running statistics."""
    token = _updates_statistics.set(False)
    try:
        yield
    finally:
        _updates_statistics.reset(token)


class AllReduceSum(torch.autograd.Function):
    """Sum over all ranks; every rank's loss depends on it, so the gradient is summed over them too."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of [N, F, ...] with any number of trailing dimensions; `sync` shares statistics over ranks."""

    sync = False

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2 or x.shape[1] != self.num_features:
            raise ValueError(f"This norm holds {self.num_features} features; its input is {tuple(x.shape)}.")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        if self.sync and get_world_size() > 1:
            return self._synchronized(x)
        if _updates_statistics.get():
            self.num_batches_tracked.add_(1)
            mean, var = self.running_mean, self.running_var
        else:
            # A recomputation must save as many tensors as the first run did: throw-away copies take the update.
            mean, var = self.running_mean.clone(), self.running_var.clone()
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, self.momentum, self.eps)

    def _synchronized(self, x: Tensor) -> Tensor:
        """Statistics over all ranks; the mean first, for a variance without cancellation."""
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.float()
        count = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float32)
        totals = AllReduceSum.apply(torch.cat([values.sum(dims), count]))
        mean, count = totals[:-1] / totals[-1], totals[-1]
        centered = values - mean.view(shape)
        var = AllReduceSum.apply(centered.square().sum(dims)) / count
        if _updates_statistics.get():
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
        scale = (var + self.eps).rsqrt() * self.weight
        return (centered * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class TimeStepBatchNorm(BatchNorm):
    """Batch norm with statistics and affine of its own for every (time step, channel).

    Input and output [T, B, C, ...]; T * C features, feature index t * C + c, statistics over B and space
    (SVFormer's `BN_T`). Built for a fixed T.
    """

    def __init__(self, channels: int, time_steps: int):
        super().__init__(time_steps * channels)
        self.time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] != self.time_steps:
            raise ValueError(
                f"The per-step norms were built for {self.time_steps} time steps and the clip has {x.shape[0]}. "
                "Set DATA.NUM_FRAMES to the checkpoint's, or train with UNIFORMER.TIME_NORM shared."
            )
        features = x.transpose(0, 1).flatten(1, 2)  # [B, T * C, ...]
        return super().forward(features).unflatten(1, (self.time_steps, -1)).transpose(0, 1)


class SharedBatchNorm(BatchNorm):
    """Ordinary batch norm of [T, B, C, ...] over T * B: C features, any T."""

    def __init__(self, channels: int, time_steps: int):
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


# What UNIFORMER.TIME_NORM selects; each is built as norm(channels, time_steps).
BATCH_NORMS = {"per_step": TimeStepBatchNorm, "shared": SharedBatchNorm}


def synchronize_norms(model: nn.Module) -> nn.Module:
    """Makes every norm of this module take its training statistics over all processes."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.sync = True
    return model
