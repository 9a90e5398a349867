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

from slowfast.config import CfgNode, ConfigError, Key, add_section
from slowfast.config.check import rule
from slowfast.config.valid import choice, number, registered, whole
from slowfast.spiking.kernels import cuda
from slowfast.spiking.node import BACKENDS, LEAKY, LEAKY_FULL_INPUT, SpikingNeuron, of_base
from slowfast.utils.registry import Registry

NEURON_REGISTRY = Registry("SNN.NEURON")


def surrogates() -> dict[str, type[surrogate.SurrogateFunctionBase]]:
    """SpikingJelly's surrogate functions that have a sharpness, by their names in lower case."""
    return {
        name.lower(): kind
        for name, kind in vars(surrogate).items()
        if inspect.isclass(kind)
        and issubclass(kind, surrogate.SurrogateFunctionBase)
        and "alpha" in inspect.signature(kind.__init__).parameters
    }


add_section(
    "SNN",
    {
        "NEURON": Key(
            None,
            "Neuron of every spiking layer: IF, LIF, PLIF, ILIF. None: as the model's publication.",
            valid=registered(NEURON_REGISTRY),
        ),
        "MAX_SPIKES": Key(4, "Most spikes of an ILIF in one time step.", valid=whole(1, 255)),
        "TAU": Key(
            None,
            "Membrane time constant (PLIF: its initial value). None: as published.",
            "time steps",
            valid=number(above=1, most=10**6),
        ),
        "V_THRESHOLD": Key(
            None, "Membrane potential from which a neuron fires. None: as published.", valid=number(above=0, most=10**6)
        ),
        "V_RESET": Key(
            0.0,
            "Potential after a spike (hard reset); None subtracts the threshold (soft reset).",
            valid=number(-(10**6), 10**6),
        ),
        "SURROGATE": Key(
            None,
            "Surrogate gradient by SpikingJelly's name: atan, sigmoid, ... None: as published.",
            valid=registered(surrogates(), any_case=True),
        ),
        "SURROGATE_ALPHA": Key(
            None,
            "Sharpness of the surrogate gradient. None: SpikingJelly's default.",
            valid=number(above=0, most=10**6),
        ),
        "DETACH_RESET": Key(True, "Keep the gradient out of the reset term."),
        "DECAY_INPUT": Key(True, "Scale the input by 1 / tau too (LIF, PLIF)."),
        "BACKEND": Key(
            "auto",
            "Who computes the neurons: cupy (our CUDA kernels; needs CuPy and a GPU), spikingjelly (its own "
            "dispatch), auto (ours on the CPU and where CuPy is, else spikingjelly).",
            valid=choice(*BACKENDS),
        ),
        "FUSE_NORM": Key(True, "Compute a norm and the neuron behind it in one pass, keeping only the norm's input."),
        "PACK_SPIKES": Key(False, "Keep spikes for backward as one bit each: less memory, a little slower."),
        "STATE_DTYPE": Key(
            "float32",
            "Membrane potential under fp16 and bf16: float32, or input (rounded to the input's dtype each step).",
            valid=choice("float32", "input"),
        ),
    },
)


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

    @of_base
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

    @of_base
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


@rule
def a_reset_is_below_the_threshold(cfg: CfgNode) -> None:
    """Else a neuron that has fired fires in every step that follows."""
    reset, threshold = cfg.SNN.V_RESET, cfg.SNN.V_THRESHOLD
    if reset is not None and threshold is not None and reset >= threshold:
        raise ConfigError(f"SNN.V_RESET {reset} must be below SNN.V_THRESHOLD {threshold}.")


def build_surrogate(name: str, alpha: float | None = None) -> surrogate.SurrogateFunctionBase:
    """SpikingJelly's surrogate function of that name, upper or lower case; `alpha` None keeps its default."""
    known = surrogates()
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
