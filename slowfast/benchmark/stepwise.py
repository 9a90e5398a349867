"""ReSpike's spiking branch as it was published: every residual frame through all layers before the next one."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from slowfast.models.cross_fusion import CrossAttention, attend_stepwise
from slowfast.models.respike import STAGES, SpikingResNet
from slowfast.spiking import LIF, SpikingNeuron, StepBatchNorm


class StepwiseBranch(nn.Module):
    """A drop-in for a `SpikingResNet`, with torch's norms, single-step neurons and attention of two products.

    Args:
        single_step: makes a neuron that keeps its state between calls, has a `reset`, and is set up as the given one.
    """

    def __init__(self, branch: SpikingResNet, single_step: Callable[[LIF], nn.Module]):
        super().__init__()
        self.out_channels, self.pools = branch.out_channels, branch.pools
        for name, layer in copy.deepcopy(branch).named_children():
            setattr(self, name, layer)
        for name, module in list(self.named_modules()):
            parent, _, attribute = name.rpartition(".")
            if isinstance(module, StepBatchNorm):
                norm = nn.BatchNorm2d(module.num_features, dtype=module.weight.dtype)
                norm.load_state_dict(module.state_dict())
                setattr(self.get_submodule(parent), attribute, norm)
            elif isinstance(module, SpikingNeuron):
                setattr(self.get_submodule(parent), attribute, single_step(module))
            elif isinstance(module, CrossAttention):
                module.attend = attend_stepwise

    def forward(self, frames: Tensor, contexts: list[Tensor]) -> Tensor:
        for module in self.modules():
            if hasattr(module, "reset"):
                module.reset()
        return torch.stack([self.step(frame, contexts) for frame in frames])

    def step(self, x: Tensor, contexts: list[Tensor]) -> Tensor:
        """One frame [B, C, H, W]."""
        x = self.bn1(self.conv1(x))
        for stage, context in zip(STAGES, contexts, strict=True):
            for block in getattr(self, f"layer{stage}"):
                spikes = block.lif2(block.bn1(block.conv1(block.lif1(x))))
                x = block.bn2(block.conv2(spikes)) + block.shortcut(x)
            if stage in self.pools:
                pool, fusion = self.pools[stage], getattr(self, f"fusion{stage}")
                x = fusion(F.avg_pool2d(x, pool)[None], F.avg_pool2d(context, pool))[0]
                if pool > 1:
                    x = F.interpolate(x, scale_factor=pool, mode="bilinear", align_corners=False)
        return x


def single_step(own: LIF) -> nn.Module:
    """SpikingJelly's single-step LIF, set up as `own`."""
    return neuron.LIFNode(
        tau=own.tau,
        decay_input=own.decay_input,
        v_threshold=own.v_threshold,
        v_reset=own.v_reset,
        surrogate_function=copy.deepcopy(own.surrogate_function),
        detach_reset=own.detach_reset,
    )
