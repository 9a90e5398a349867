"""A neuron from its charge alone, step by step by torch's operators: any surrogate, any device, and slow."""

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor

from slowfast.spiking.dynamics import charge_functions


def unrolled(node: BaseNode, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes [T, B, ...] and the potential [B, ...] after T of a `SpikingNeuron`, for a current x and a potential v."""
    charge, _, _ = charge_functions(node.charge)
    k, spikes = node.checked_k(), []
    k = k.to(v.dtype) if isinstance(k, Tensor) else k
    for current in x:
        h = charge(v, current.to(v.dtype), k, node.v_reset or 0.0)
        fires = node.surrogate_function(h - node.v_threshold)
        spikes.append(torch.where(h.isnan(), h, fires))  # a NaN shows instead of passing for silence
        fired = spikes[-1].detach() if node.detach_reset else spikes[-1]
        if node.v_reset is None:
            v = node.apply_soft_reset(h, fired, node.v_threshold)
        else:
            v = node.apply_hard_reset(h, fired, node.v_reset)
    return torch.stack(spikes), v
