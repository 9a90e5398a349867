"""The neurons that SNN.NEURON selects, with SpikingJelly's names and parameters, and section SNN.

Adding one: a class with the two bases of `LIF` below (`neuron.BaseNode` where SpikingJelly has none like it) and its
`charge`, decorated with `NEURON_REGISTRY.register()`; `SNN.NEURON` then selects it by its name. It has a `from_config`
where it has settings of its own.
"""

import inspect
from collections.abc import Callable

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from slowfast.config import add_section
from slowfast.spiking.kernels import cuda
from slowfast.spiking.node import LEAKY, LEAKY_FULL_INPUT, SpikingNeuron
from slowfast.utils.registry import Registry

add_section(
    "SNN",
    {
        "NEURON": (None, "Neuron of every spiking layer: IF, LIF, PLIF, ILIF. None: as the model's publication."),
        "MAX_SPIKES": (4, "Most spikes of an ILIF in one time step."),
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
        "BACKEND": (
            "auto",
            "Who computes the neurons: cupy (our CUDA kernels; needs CuPy and a GPU), spikingjelly (its own "
            "dispatch), auto (ours on the CPU and where CuPy is, else spikingjelly).",
        ),
        "FUSE_NORM": (True, "Compute a norm and the neuron behind it in one pass, keeping only the norm's input."),
        "PACK_SPIKES": (False, "Keep spikes for backward as one bit each: less memory, a little slower."),
        "STATE_DTYPE": (
            "float32",
            "Membrane potential under fp16 and bf16: float32, or input (rounded to the input's dtype each step).",
        ),
    },
)

NEURON_REGISTRY = Registry("SNN.NEURON")


@NEURON_REGISTRY.register()
class IF(SpikingNeuron, neuron.IFNode):
    """Integrate and fire: h[t] = v[t-1] + x[t]."""

    charge = "v + x"


@NEURON_REGISTRY.register()
class LIF(SpikingNeuron, neuron.LIFNode):
    """Leaky integrate and fire: h[t] = v[t-1] + (x[t] - (v[t-1] - v_reset)) / tau."""

    @property
    def charge(self) -> str:
        return LEAKY if self.decay_input else LEAKY_FULL_INPUT

    def k(self) -> float:
        return 1.0 / self.tau

    @classmethod
    def from_config(cls, cfg, **common) -> "LIF":
        return cls(tau=float(cfg.SNN.TAU), decay_input=cfg.SNN.DECAY_INPUT, **common)


@NEURON_REGISTRY.register()
class PLIF(SpikingNeuron, neuron.ParametricLIFNode):
    """LIF with a learnable time constant, 1 / tau = sigmoid(w), one scalar `w` a layer (Fang et al. 2021)."""

    @property
    def charge(self) -> str:
        return LEAKY if self.decay_input else LEAKY_FULL_INPUT

    def k(self) -> Tensor:
        return self.w.sigmoid()

    @classmethod
    def from_config(cls, cfg, **common) -> "PLIF":
        return cls(init_tau=float(cfg.SNN.TAU), decay_input=cfg.SNN.DECAY_INPUT, **common)


@NEURON_REGISTRY.register()
class ILIF(SpikingNeuron, neuron.ILIFNode):
    """Integer LIF of Spike-Driven Transformer V3 (Luo et al. 2024): 0 .. MAX_SPIKES spikes a step, soft reset.

    SpikingJelly computes it; SNN.V_RESET, SURROGATE and DECAY_INPUT do not apply.
    """

    @classmethod
    def from_config(cls, cfg, v_threshold: float, detach_reset: bool, **_) -> "ILIF":
        count = surrogate.MultiLevelSpikeCount(cfg.SNN.MAX_SPIKES)
        return cls(float(cfg.SNN.TAU), v_threshold, count, detach_reset)

    @property
    def most_spikes(self) -> int:
        return self.surrogate_function.max_spike_count


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
    check_backend(cfg.SNN.BACKEND)

    def make() -> nn.Module:
        built = neuron_class.from_config(
            cfg,
            v_threshold=float(cfg.SNN.V_THRESHOLD),
            v_reset=None if cfg.SNN.V_RESET is None else float(cfg.SNN.V_RESET),
            surrogate_function=build_surrogate(cfg.SNN.SURROGATE, cfg.SNN.SURROGATE_ALPHA),
            detach_reset=cfg.SNN.DETACH_RESET,
        )
        built.backend = cfg.SNN.BACKEND
        built.fuse_norm = cfg.SNN.FUSE_NORM
        built.round_state = cfg.SNN.STATE_DTYPE == "input"
        return built

    return make


def check_backend(name: str) -> None:
    """Refuses SNN.BACKEND cupy where our CUDA kernels cannot run."""
    if name != "cupy" or cuda.available():
        return
    if not torch.cuda.is_available():
        raise RuntimeError("SNN.BACKEND cupy needs a CUDA device, and torch sees none. Set SNN.BACKEND auto.")
    extra = f"cuda{torch.version.cuda.split('.')[0]}"
    raise RuntimeError(f"SNN.BACKEND cupy needs CuPy: pip install 'spikefast[{extra}]', or set SNN.BACKEND auto.")
