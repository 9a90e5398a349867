"""What makes a neuron of SpikingJelly a function of a sequence: current [T, B, ...] in, spikes [T, B, ...] out.

The dynamics are SpikingJelly's (`spikingjelly.activation_based.neuron`): charge, fire where `h >= v_threshold`, reset.
What is added: a call starts from rest and leaves nothing behind, so no training loop has to reset a network; a stream
carries its state in an explicit argument; the operators of `slowfast.spiking.ops` compute it, also fused with a norm in
front (`neuron(y, norm)` is `neuron(norm(y))`).
"""

from collections.abc import Callable
from numbers import Real

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from slowfast.spiking import ops
from slowfast.spiking.dynamics import SURROGATES, Dynamics, check_charge, uses_k
from slowfast.spiking.kernels import cuda
from slowfast.spiking.kernels.eager import working_dtype
from slowfast.spiking.norm import BatchNorm
from slowfast.spiking.unrolled import unrolled

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


def of_base(k: Callable) -> Callable:
    """Marks a method `k` as what SpikingJelly's class computes with; another one is computed by our operators only."""
    k.is_of_base = True
    return k


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

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if neuron.BaseNode in cls.__mro__[: cls.__mro__.index(SpikingNeuron)]:
            raise TypeError(
                f"class {cls.__name__}: SpikingNeuron goes before the other bases, which would else do its work."
            )
        if not callable(cls.k):
            raise TypeError(f"class {cls.__name__}: k is a method that gives a number, or a tensor of one element.")
        charge = vars(cls).get("charge")
        if charge is not None and not hasattr(charge, "__get__"):
            check_charge(charge)

    def __init__(self, *args, step_mode: str = "m", **kwargs):
        super().__init__(*args, step_mode=step_mode, **kwargs)

    @classmethod
    def from_config(cls, cfg, **common):
        """A neuron by section SNN; `common` are the settings that every neuron of SpikingJelly takes."""
        return cls(**common)

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
        """The constant or learnt k of the charge, in a class whose charge has one."""
        if self.charge is not None and uses_k(self.charge):
            raise TypeError(f"The charge of {type(self).__name__} has a k, and the class no method k() that gives it.")
        return 0.0

    def forward(self, x: Tensor, norm: BatchNorm | None = None) -> Tensor:
        """Current [T, B, ...] -> spikes [T, B, ...] of the same dtype; starts at rest, keeps no state.

        With `store_v_seq` the potentials after each step are in `v_seq` [T, B, ...] afterwards.

        Args:
            norm: of [T, B, C, ...], applied to x first; fused with the neuron unless `fuse_norm` is off.
        """
        if norm is not None:
            if not isinstance(norm, BatchNorm):
                raise TypeError(
                    f"A neuron takes a current and a norm, not {type(norm).__name__}. For a state call stream()."
                )
            ops.check_input(x)  # the norm sees it first
        is_ours = self.own_operator(x)
        if norm is not None and not (is_ours and self.fuse_norm and not self.store_v_seq):
            x, norm = norm(x), None
        if self.store_v_seq or not is_ours:
            return self.stream(x)[0]
        if norm is None:
            return ops.fire(x, *self.dynamics())[0]
        return norm.fused(x, *self.dynamics())

    def stream(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Current [T, B, ...] and potential [B, ...] (None: at rest) -> spikes and the potential after T.

        Raises:
            ValueError: a potential of another shape or device than a time step of the current.
            TypeError: a potential that is no tensor.
        """
        ops.check_input(x, v)
        if v is None:
            v = torch.full_like(x[0], self.v_reset or 0.0, dtype=self.state_dtype(x))
        if not self.store_v_seq:
            return self.advance(x, v)
        spikes, states = [], []
        for t in range(len(x)):
            fired, v = self.advance(x[t : t + 1], v)
            spikes.append(fired)
            states.append(v)
        self.v_seq = torch.stack(states)
        return torch.cat(spikes), v

    def advance(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As `stream`, by whoever computes this neuron."""
        if self.own_operator(x):
            return ops.fire(x, *self.dynamics(), v)
        v = v.to(self.state_dtype(x))
        if self.is_spikingjellys():
            (spikes,), (v,) = self.multi_step_functional_forward((x,), (v,))
        else:
            spikes, v = unrolled(self, x, v)
        return spikes.to(x.dtype), v  # some of SpikingJelly's surrogates answer in the dtype of the potential

    def single_step_forward(self, x: Tensor, *args, **kwargs):
        """Refused: it would keep a state in the neuron."""
        raise NotImplementedError(
            "A spiking neuron keeps no state: call stream(x[None], v), which takes and returns it."
        )

    def multi_step_forward(self, x_seq: Tensor, *args, **kwargs) -> Tensor:
        """As `forward`; SpikingJelly's would keep a state, and know nothing of the charge."""
        return self(x_seq, *args, **kwargs)

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
        if self.charge is None:
            names = ("single_step_functional_forward", "multi_step_functional_forward")
            if all(getattr(type(self), name) is getattr(neuron.BaseNode, name) for name in names):
                raise TypeError(f"Nothing says how {type(self).__name__} computes. Set its charge.")
            return True
        if uses_k(self.charge) and not getattr(type(self).k, "is_of_base", False):
            return False
        known = (charges for kind, charges in SPIKINGJELLYS.items() if isinstance(self, kind))
        is_known = any(self.charge in charges for charges in known)
        return is_known and getattr(self, "decay_input", True) == (self.charge != LEAKY_FULL_INPUT)

    def checked_k(self) -> float | Tensor:
        k = self.k()
        if not (k.numel() == 1 if isinstance(k, Tensor) else isinstance(k, Real)):
            what = f"a tensor {tuple(k.shape)}" if isinstance(k, Tensor) else repr(k)
            raise TypeError(
                f"{type(self).__name__}.k() gives {what}, and must give a number or a tensor of one element."
            )
        return k

    def dynamics(self) -> tuple[Dynamics, Tensor | None]:
        """The description the operators take, and k where it is learnt."""
        k = self.checked_k()
        learnt = isinstance(k, Tensor)
        description = Dynamics(
            self.charge,
            type(self.surrogate_function).__name__,
            float(self.surrogate_function.alpha),
            self.v_threshold,
            self.v_reset,
            self.detach_reset,
            None if learnt else float(k),
            self.round_state,
        )
        return description, k.view(1) if learnt else None
