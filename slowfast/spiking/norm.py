"""Batch norms over sequences [T, B, C, ...]: one set of statistics per time step, or one for all.

All of them keep the parameter and buffer names of `nn.BatchNorm2d`, can take their statistics over every
process (`synchronize_norms`, on CPU too, where `nn.SyncBatchNorm` does not exist), and leave the running
statistics alone while activation checkpointing runs a block a second time.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.spiking.dynamics import Dynamics
from slowfast.spiking.kernels.eager import working_dtype
from slowfast.spiking.ops import moments, norm_fire
from slowfast.utils.distributed import all_gather, get_world_size


class Statistics(threading.local):
    """Whether a forward pass of this thread updates the running statistics; autograd recomputes on its own threads."""

    are_updated = True


_statistics = Statistics()


@contextmanager
def frozen_statistics() -> Iterator[None]:
    """Within it a training forward normalises as usual but does not touch the running statistics."""
    before, _statistics.are_updated = _statistics.are_updated, False
    try:
        yield
    finally:
        _statistics.are_updated = before


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of [N, F, ...] with any number of trailing dimensions; `sync` shares statistics over ranks."""

    sync = False

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[1] != self.num_features:
            raise self.misfit(x)
        is_shared = self.sync and get_world_size() > 1
        if self.training and x.numel() < self.num_features * (1 if is_shared else 2):
            raise too_few_values(x)
        if self.training and is_shared:
            return self.fused(x[None])[0]
        if not self.training or _statistics.are_updated:
            if self.training:
                self.num_batches_tracked.add_(1)
            mean, var = self.running_mean, self.running_var
        else:
            # A recomputation must save as many tensors as the first run did: throw-away copies take the update.
            mean, var = self.running_mean.clone(), self.running_var.clone()
        return batch_norm(x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps)

    def fused(self, y: Tensor, dynamics: Dynamics | None = None, k: Tensor | None = None) -> Tensor:
        """The norm of y [T, B, C, ...] and the neuron behind it (None: no neuron) as one operator."""
        if y.dim() < 3 or self.features_of(y) != self.num_features:
            raise self.misfit(y)
        rows = (-1, y.shape[2])  # one row of parameters for all time steps, or one for each
        mean, invstd, count = self.statistics(y)
        return norm_fire(
            y,
            mean,
            invstd,
            self.weight.view(rows),
            self.bias.view(rows),
            dynamics,
            k,
            of_batch=self.training,
            sync=self.sync,
            count=count,
        )

    def features_of(self, y: Tensor) -> int:
        """How many features y [T, B, C, ...] asks for."""
        return y.shape[2]

    def misfit(self, x: Tensor) -> ValueError:
        return ValueError(f"This norm holds {self.num_features} features; its input is {tuple(x.shape)}.")

    def statistics(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean and 1 / deviation [T or 1, C] to normalise y with; the values behind each where ranks share them."""
        if not self.training:
            rows = (-1, y.shape[2])
            mean, var = (buffer.to(working_dtype(y)) for buffer in (self.running_mean, self.running_var))
            return mean.view(rows), (var + self.eps).rsqrt().view(rows), None
        is_shared = self.sync and get_world_size() > 1
        if not y.numel():
            raise too_few_values(y)
        with torch.no_grad():
            mean, var = moments(y)
            mean, var = self.over_steps(mean, var)
            count, values = None, y.numel() / mean.numel()
            if is_shared:
                mean, var, count = over_ranks(mean, var, values)
                values = count
            elif values == 1:
                raise too_few_values(y)
            if _statistics.are_updated:
                self.num_batches_tracked.add_(1)
                self.update_running(mean, var * (values / (values - 1)))
        return mean, (var + self.eps).rsqrt(), count

    def over_steps(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Of statistics per step [T, C] those of the rows that this norm keeps."""
        if mean.numel() == self.num_features:
            return mean, var
        return mean.mean(0, keepdim=True), var.mean(0, keepdim=True) + mean.var(0, correction=0, keepdim=True)

    def update_running(self, mean: Tensor, unbiased_var: Tensor) -> None:
        self.running_mean.lerp_(mean.flatten().to(self.running_mean), self.momentum)
        self.running_var.lerp_(unbiased_var.flatten().to(self.running_var), self.momentum)


class TooFewValuesError(ValueError):
    """A batch norm in training that gets less than two values of a channel."""


def too_few_values(x: Tensor) -> TooFewValuesError:
    """In torch's own words, which users look for. Of one value the variance is 0 and the deviation says nothing."""
    return TooFewValuesError(f"Expected more than 1 value per channel when training, got input size {x.shape}")


def batch_norm(x: Tensor, *arguments) -> Tensor:
    """`F.batch_norm`, also right where torch's own gradient is not.

    On the CPU (torch 2.14) a sample [1, C, ...] whose memory order its strides leave open is read in one order and
    its gradient in another: the gradients of x and of the weight are then wrong, without a word.
    """
    if x.is_cuda or 1 not in x.shape or not torch.is_grad_enabled():
        return F.batch_norm(x, *arguments)
    y = F.batch_norm(plainly_strided(x), *arguments)
    if y.requires_grad:
        y.register_hook(plainly_strided)
    return y


def plainly_strided(x: Tensor) -> Tensor:
    """x with the strides of a contiguous tensor also in its dimensions of size 1, which `contiguous` leaves."""
    return x.reshape(-1).view(x.shape)


def over_ranks(mean: Tensor, var: Tensor, count: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and count over all ranks from each rank's (Chan et al. 1979, eq. 1.5)."""
    own = torch.stack([mean, var, torch.full_like(mean, count)])
    means, variances, counts = all_gather(own).unbind(1)
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    var = ((variances + (means - mean).square()) * counts).sum(0) / total
    return mean, var, total.flatten()[0]


class TimeStepBatchNorm(BatchNorm):
    """Batch norm with statistics and affine of its own for every (time step, channel).

    Input and output [T, B, C, ...]; T * C features, feature index t * C + c, statistics over B and space
    (SVFormer's `BN_T`). Built for a fixed T.
    """

    def __init__(self, channels: int, time_steps: int):
        super().__init__(time_steps * channels)
        self.time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x)

    def fused(self, y: Tensor, dynamics: Dynamics | None = None, k: Tensor | None = None) -> Tensor:
        if y.shape[0] != self.time_steps:
            raise ValueError(
                f"The per-step norms were built for {self.time_steps} time steps and the clip has {y.shape[0]}. "
                "Set DATA.NUM_FRAMES to the checkpoint's, or train with UNIFORMER.TIME_NORM shared."
            )
        return super().fused(y, dynamics, k)

    def features_of(self, y: Tensor) -> int:
        return self.time_steps * y.shape[2]


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
