"""Layers that hardly take part any more: silent ones, saturated ones, and those whose time constant has run away."""

from torch import nn

from slowfast.spiking.monitor import rates_of
from slowfast.spiking.neuron import PLIF
from slowfast.spiking.node import SpikingNeuron
from slowfast.utils.wording import first_of

SATURATED = 0.9  # of the most spikes that a neuron can fire
LONGEST_TAU = 100.0  # time steps; a current then moves the potential by less than 1 % of itself
SHOWN = 5
ADVICE = (
    "They hardly take part in the result. What may help: a lower SNN.V_THRESHOLD against silence, a higher one against "
    "saturation, a lower SOLVER.BASE_LR against all of it."
)


def ailing_layers(model: nn.Module, totals: dict[str, tuple[float, int]]) -> dict[str, list[str]]:
    """What is wrong -> the layers of which it is true, with the value; nothing for what is true of none.

    `totals`: layer name -> (spikes, neuron-steps), as `FiringRates.totals` counts them.
    """
    neurons = {name: module for name, module in model.named_modules() if isinstance(module, SpikingNeuron)}
    rates = {name: rate for name, rate in rates_of(totals).items() if name in neurons}
    leaky = {name: module for name, module in neurons.items() if isinstance(module, PLIF)}
    taus = {name: module.k().float().reciprocal().item() for name, module in leaky.items()}
    found = {
        "silent": [name for name, rate in rates.items() if rate == 0.0],
        "saturated": [
            f"{name} ({rate:.3f})" for name, rate in rates.items() if rate > SATURATED * neurons[name].most_spikes
        ],
        f"tau over {LONGEST_TAU:.0f}": [f"{name} ({tau:.0f})" for name, tau in taus.items() if not tau <= LONGEST_TAU],
    }
    return {what: layers for what, layers in found.items() if layers}


def described(layers: list[str], count: int) -> str:
    """`2 of 12: a, b`, of at most SHOWN layers."""
    return f"{len(layers)} of {count}: {first_of(layers, SHOWN)}"
