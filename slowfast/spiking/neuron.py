"""Spiking neurons as functions of a sequence: current [T, B, ...] in, spikes [T, B, ...] out.

The dynamics and their kernels are SpikingJelly's (`spikingjelly.activation_based.neuron`): charge, fire
where `h >= v_threshold`, reset. What is added here is that a call starts from rest and leaves nothing
behind, so no training loop has to reset a network; a stream carries its state in an explicit argument.

Adding a neuron: a class with the two bases of `LIF` below and a `from_config`, decorated with
`NEURON_REGISTRY.register()`; `SNN.NEURON` then selects it by its name.
"""

import inspect
from collections.abc import Callable

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from slowfast.config import add_section
from slowfast.utils.registry import Registry

add_section(
    "SNN",
    {
        "NEURON": (None, "Neuron of every spiking layer: IF, LIF, PLIF. None: as the model's publication."),
        "TAU": (None, "Membrane time constant (PLIF: its initial value). None: as published.", "time steps"),
        "V_THRESHOLD": (None, "Membrane potential from which a neuron fires. None: as published."),
        "V_RESET": (0.0, "Potential after a spike (hard reset); None subtracts the threshold (soft reset)."),
        "SURROGATE": (
            None,
            "Surrogate gradient by SpikingJelly's name: atan, sigmoid, ... None: as published.",
        ),
        "SURROGATE_ALPHA": (None, "Sharpness of the surrogate gradient. None: SpikingJelly's default."),
        "DETACH_RESET": (True, "Keep the gradient out of the reset term."),
        "DECAY_INPUT": (True, "Scale the input by 1 / tau too (LIF, PLIF)."),
    },
)

NEURON_REGISTRY = Registry("SNN.NEURON")


class SpikingNeuron:
    """Makes a SpikingJelly neuron a stateless function of a sequence; goes before it in the bases."""

    def forward(self, x: Tensor) -> Tensor:
        """Current [T, B, ...] -> spikes [T, B, ...] of the same dtype; starts at rest, keeps no state."""
        return self.stream(x)[0]

    def stream(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Current [T, B, ...] and potential [B, ...] (None: at rest) -> spikes and the potential after T."""
        if x.dim() == 0 or x.shape[0] == 0:
            raise ValueError(f"{type(self).__name__} needs at least one time step; got input {tuple(x.shape)}.")
        if v is None:
            # The potential is kept in fp32 under fp16 and bf16 currents, or small leaks would round away.
            dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
            v = torch.full(x.shape[1:], self.v_reset or 0.0, dtype=dtype, device=x.device)
        (spikes,), (v,) = self.multi_step_functional_forward((x,), (v,))
        return spikes, v


@NEURON_REGISTRY.register()
class IF(SpikingNeuron, neuron.IFNode):
    """Integrate and fire: h[t] = v[t-1] + x[t]."""

    @classmethod
    def from_config(cls, cfg, **common) -> "IF":
        return cls(**common)


@NEURON_REGISTRY.register()
class LIF(SpikingNeuron, neuron.LIFNode):
    """Leaky integrate and fire: h[t] = v[t-1] + (x[t] - (v[t-1] - v_reset)) / tau."""

    @classmethod
    def from_config(cls, cfg, **common) -> "LIF":
        return cls(tau=float(cfg.SNN.TAU), decay_input=cfg.SNN.DECAY_INPUT, **common)


@NEURON_REGISTRY.register()
class PLIF(SpikingNeuron, neuron.ParametricLIFNode):
    """LIF with a learnable time constant, 1 / tau = sigmoid(w), one scalar `w` a layer (Fang et al. 2021)."""

    @classmethod
    def from_config(cls, cfg, **common) -> "PLIF":
        return cls(init_tau=float(cfg.SNN.TAU), decay_input=cfg.SNN.DECAY_INPUT, **common)


def build_surrogate(name: str, alpha: float | None = None) -> surrogate.SurrogateFunctionBase:
    """SpikingJelly's surrogate function of that name, upper or lower case; `alpha` None keeps its default."""
    known = {
        key.lower(): value
        for key, value in vars(surrogate).items()
        if inspect.isclass(value)
        and issubclass(value, surrogate.SurrogateFunctionBase)
        and "alpha" in inspect.signature(value.__init__).parameters
    }
    if name.lower() not in known:
        raise ValueError(f"No surrogate gradient named {name!r}. Set SNN.SURROGATE to one of: {sorted(known)}.")
    return known[name.lower()](**({} if alpha is None else {"alpha": float(alpha)}))


def build_neuron(cfg) -> Callable[[], nn.Module]:
    """A factory of fresh neurons of section SNN; each layer calls it for a neuron of its own."""
    unset = [k for k in ("NEURON", "TAU", "V_THRESHOLD", "SURROGATE") if cfg.SNN[k] is None]
    if unset:
        keys = ", ".join(f"SNN.{key}" for key in unset)
        raise ValueError(f"{keys} not set and model {cfg.MODEL.MODEL_NAME!r} publishes no value. Set them.")
    neuron_class = NEURON_REGISTRY.get(cfg.SNN.NEURON)

    def make() -> nn.Module:
        return neuron_class.from_config(
            cfg,
            v_threshold=float(cfg.SNN.V_THRESHOLD),
            v_reset=None if cfg.SNN.V_RESET is None else float(cfg.SNN.V_RESET),
            surrogate_function=build_surrogate(cfg.SNN.SURROGATE, cfg.SNN.SURROGATE_ALPHA),
            detach_reset=cfg.SNN.DETACH_RESET,
            step_mode="m",
        )

    return make
