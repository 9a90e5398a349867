"""Firing rates: how often the neurons of a model spike."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from slowfast.spiking.node import SpikingNeuron


class FiringRates:
    """Spikes and neuron-steps counted so far, per neuron layer; those of forwards made while `counts` is True."""

    def __init__(self) -> None:
        self.counts = True
        self.clear()

    def clear(self) -> None:
        self.spikes: dict[str, Tensor] = {}
        self.elements: dict[str, int] = {}

    def count(self, name: str, spikes: Tensor) -> None:
        """Adds one call's output; the sum stays on its device, so nothing waits for it."""
        if not self.counts:
            return
        total = spikes.detach().sum(dtype=torch.float64)
        self.spikes[name] = self.spikes[name] + total if name in self.spikes else total
        self.elements[name] = self.elements.get(name, 0) + spikes.numel()

    def totals(self) -> dict[str, tuple[float, int]]:
        """Layer name -> (spikes, neuron-steps)."""
        return {name: (self.spikes[name].item(), self.elements[name]) for name in self.spikes}


def rates_of(totals: dict[str, tuple[float, int]]) -> dict[str, float]:
    """Layer name -> spikes per neuron and time step, in 0 .. 1 (of an ILIF 0 .. SNN.MAX_SPIKES)."""
    return {name: spikes / elements for name, (spikes, elements) in totals.items() if elements}


def mean_rate(totals: dict[str, tuple[float, int]]) -> float | None:
    """Spikes per neuron and time step over all layers; None for a model without spiking neurons."""
    elements = sum(count for _, count in totals.values())
    return sum(spikes for spikes, _ in totals.values()) / elements if elements else None


def count_spikes(model: nn.Module, rates: FiringRates) -> list[RemovableHandle]:
    """Makes `rates` count the spikes of every neuron of `model`, until the handles are removed."""
    return [
        module.register_forward_hook(lambda _, __, spikes, name=name: rates.count(name, spikes))
        for name, module in model.named_modules()
        if isinstance(module, SpikingNeuron)
    ]


@contextmanager
def record_firing_rates(model: nn.Module) -> Iterator[FiringRates]:
    """Counts the spikes of every neuron of `model` in the forwards made within it."""
    rates = FiringRates()
    handles = count_spikes(model, rates)
    try:
        yield rates
    finally:
        for handle in handles:
            handle.remove()


def merge_totals(totals: list[dict[str, tuple[float, int]]]) -> dict[str, tuple[float, int]]:
    """The totals of several processes together."""
    merged: dict[str, tuple[float, int]] = {}
    for part in totals:
        for name, (spikes, elements) in part.items():
            before = merged.get(name, (0.0, 0))
            merged[name] = (before[0] + spikes, before[1] + elements)
    return merged
