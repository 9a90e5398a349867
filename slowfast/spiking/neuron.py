"""Spiking neurons as functions of a sequence: current [T, B, ...] in, spikes [T, B, ...] out.

The classes, their parameters and their dynamics are SpikingJelly's (`spikingjelly.activation_based.neuron`): charge,
fire where `h >= v_threshold`, reset. What is added: a call starts from rest and leaves nothing behind, so no
training loop has to reset a network; a stream carries its state in an explicit argument; the operators of
`slowfast.spiking.ops` compute it, also fused with a norm in front (`neuron(y, norm)` is `neuron(norm(y))`).

Adding a neuron: a class with the two bases of `LIF` below, its `charge` and a `from_config`, decorated with
`NEURON_REGISTRY.register()`; `SNN.NEURON` then selects it by its name.
"""

import inspect
from collections.abc import Callable

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from slowfast.config import add_section
from slowfast.spiking import ops
from slowfast.spiking.dynamics import SURROGATES, Dynamics
from slowfast.spiking.kernels import cuda
from slowfast.spiking.kernels.eager import working_dtype
from slowfast.spiking.norm import BatchNorm
from slowfast.spiking.unrolled import unrolled
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
BACKENDS = ("auto", "cupy", "spikingjelly")
OWN_SURROGATES = {getattr(surrogate, name) for name in SURROGATES}

LEAKY = "v + (x - (v - v_reset)) * k"
LEAKY_FULL_INPUT = "v - (v - v_reset) * k + x"
# The charges that SpikingJelly's classes compute by themselves.
SPIKINGJELLYS = {
    neuron.IFNode: ("v + x",),
    neuron.LIFNode: (LEAKY, LEAKY_FULL_INPUT),
    neuron.ParametricLIFNode: (LEAKY, LEAKY_FULL_INPUT),
}


class SpikingNeuron:
    """Makes a SpikingJelly neuron a stateless function of a sequence; goes before it in the bases.

    `charge` is the potential h[t] as an expression of v (v[t-1]), x (x[t]), k and v_reset (`dynamics.check_charge`);
    None leaves the neuron to SpikingJelly's implementation. `k()` is a number, or a tensor of one element where it is
    learnt.

    Of SpikingJelly's switches `store_v_seq`, `v_threshold`, `v_reset`, `detach_reset` and `surrogate_function` (also
    out of spiking mode) work. `step_mode` is "m" and `backend` is a value of SNN.BACKEND; others raise ValueError.
    """

    charge: str | None = None
    most_spikes = 1  # that a neuron can fire in one time step
    fuse_norm = True
    round_state = False
    _backend = "auto"

    def __init__(self, *args, step_mode: str = "m", **kwargs):
        super().__init__(*args, step_mode=step_mode, **kwargs)

    def supported_step_mode(self) -> tuple[str, ...]:
        """Not "s", whose single steps keep a state in the neuron; `stream` takes and returns it instead."""
        return ("m",)

    @property
    def backend(self) -> str:
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        if name not in BACKENDS:
            raise ValueError(f"There is no backend {name!r} of a spiking neuron. There are: {', '.join(BACKENDS)}.")
        self._backend = name

    def k(self) -> float | Tensor:
        return 0.0

    def forward(self, x: Tensor, norm: BatchNorm | None = None) -> Tensor:
        """Current [T, B, ...] -> spikes [T, B, ...] of the same dtype; starts at rest, keeps no state.

        With `store_v_seq` the potentials after each step are in `v_seq` [T, B, ...] afterwards.

        Args:
            norm: of [T, B, C, ...], applied to x first; fused with the neuron unless `fuse_norm` is off.
        """
        is_ours = self.own_operator(x)
        if norm is not None and not (is_ours and self.fuse_norm and not self.store_v_seq):
            x, norm = norm(x), None
        if self.store_v_seq:
            return self.forward_storing(x)
        if not is_ours:
            return self.stream(x)[0]
        if norm is None:
            return ops.fire(x, *self.dynamics())[0]
        return norm.fused(x, *self.dynamics())

    def forward_storing(self, x: Tensor) -> Tensor:
        """The spikes as `forward` gives them, step by step; the potentials in `v_seq`."""
        ops.check_input(x)
        steps, v = [], None
        for t in range(len(x)):
            steps.append(self.stream(x[t : t + 1], v))
            v = steps[-1][1]
        spikes, states = zip(*steps, strict=True)
        self.v_seq = torch.stack(states)
        return torch.cat(spikes)

    def stream(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Current [T, B, ...] and potential [B, ...] (None: at rest) -> spikes and the potential after T.

        Raises:
            ValueError: a potential of another shape or device than a time step of the current.
        """
        ops.check_input(x, v)
        if v is None:
            v = torch.full_like(x[0], self.v_reset or 0.0, dtype=self.state_dtype(x))
        if self.own_operator(x):
            return ops.fire(x, *self.dynamics(), v)
        v = v.to(self.state_dtype(x))
        if self.is_spikingjellys():
            (spikes,), (v,) = self.multi_step_functional_forward((x,), (v,))
        else:
            spikes, v = unrolled(self, x, v)
        return spikes.to(x.dtype), v  # some of SpikingJelly's surrogates answer in the dtype of the potential

    def state_dtype(self, x: Tensor) -> torch.dtype:
        """The potential is kept in fp32 under fp16 and bf16 currents, or small leaks would round away."""
        return x.dtype if self.round_state else working_dtype(x)

    def own_operator(self, x: Tensor) -> bool:
        """Whether our operators compute this neuron for x."""
        if self.charge is None or self.backend == "spikingjelly":
            return False
        known = type(self.surrogate_function) in OWN_SURROGATES and self.surrogate_function.spiking
        return known and (self.backend == "cupy" or not x.is_cuda or cuda.available())

    def is_spikingjellys(self) -> bool:
        """Whether SpikingJelly's implementation of the base computes this neuron; of others there is the charge."""
        known = (charges for kind, charges in SPIKINGJELLYS.items() if isinstance(self, kind))
        return self.charge is None or any(self.charge in charges for charges in known)

    def dynamics(self) -> tuple[Dynamics, Tensor | None]:
        """The description the operators take, and k where it is learnt."""
        k = self.k()
        learnt = isinstance(k, Tensor)
        description = Dynamics(
            self.charge,
            type(self.surrogate_function).__name__,
            float(self.surrogate_function.alpha),
            self.v_threshold,
            self.v_reset,
            self.detach_reset,
            None if learnt else k,
            self.round_state,
        )
        return description, k.view(1) if learnt else None


@NEURON_REGISTRY.register()
class IF(SpikingNeuron, neuron.IFNode):
    """Integrate and fire: h[t] = v[t-1] + x[t]."""

    charge = "v + x"

    @classmethod
    def from_config(cls, cfg, **common) -> "IF":
        return cls(**common)


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
