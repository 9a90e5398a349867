"""Batch norm of a network that is stepped through time: every step is a call of its own."""

import torch
from torch import Tensor

from slowfast.spiking.norm import BatchNorm


class StepBatchNorm(BatchNorm):
    """What an ordinary batch norm makes of [T, B, C, ...] when it is called on [B, C, ...] T times in order.

    Training statistics are over B and space of each step; the C affine parameters and the running statistics are
    shared, and the latter take T updates. Any T.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return torch.stack([super(StepBatchNorm, self).forward(step) for step in x.unbind()])
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    # Of `fused`, which takes all steps in one pass:

    def over_steps(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        return mean, var

    def update_running(self, mean: Tensor, unbiased_var: Tensor) -> None:
        for step_mean, step_var in zip(mean.unbind(), unbiased_var.unbind(), strict=True):
            super().update_running(step_mean, step_var)
        self.num_batches_tracked.add_(len(mean) - 1)  # the forward itself has been counted
