"""The CUDA text of one kernel variant: what is fixed at compile time, in front of neuron.cu."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from slowfast.spiking.dynamics import CHARGE_NAMES, SURROGATES, Dynamics, charge_derivatives, in_c

STORAGE = {torch.float32: "STORAGE_FP32", torch.float16: "STORAGE_FP16", torch.bfloat16: "STORAGE_BF16"}
CHUNK = 16  # time steps whose potentials a thread of the backward pass holds in registers
BATCH = 16  # values that a block sums at once, as in neuron.cu

HELPERS = """
__device__ inline float square(float a) { return a * a; }
__device__ inline float sigmoid(float a) { return 1.0f / (1.0f + expf(-a)); }
__device__ inline float where(bool condition, float yes, float no) { return condition ? yes : no; }
"""


@dataclass(frozen=True)
class Variant:
    """One instantiation of neuron.cu; `dynamics` None normalises without a neuron."""

    dynamics: Dynamics | None
    dtype: torch.dtype
    time_steps: int
    vector: int
    channels_last: bool = False
    affine: bool = False

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels in this variant's text: a norm's own ones do not depend on the neuron behind it."""
        return ("forward", "backward") if self.dynamics is not None else ("forward", "backward", "moments", "combine")

    @property
    def sums(self) -> int:
        """Sums per channel that the backward kernel forms."""
        learnt_k = self.dynamics is not None and self.dynamics.k is None
        return 2 * self.time_steps * self.affine + learnt_k


@cache
def kernel_source(variant: Variant) -> str:
    """Text for NVRTC, or for a host compiler behind a header that stands in for CUDA's built-ins.

    Raises:
        TypeError: no kernel for this dtype.
    """
    if variant.dtype not in STORAGE:
        raise TypeError(f"The CUDA kernels take {', '.join(map(str, STORAGE))}; got {variant.dtype}.")
    sizes = {
        "T": variant.time_steps,
        "CHUNK": min(variant.time_steps, CHUNK),
        "BATCH": BATCH,
        "VECTOR": variant.vector,
    }
    defines = {
        STORAGE[variant.dtype]: 1,
        "CHANNELS_LAST": int(variant.channels_last),
        "AFFINE": int(variant.affine),
        "FIRES": int(variant.dynamics is not None),
    }
    functions = ""
    dynamics = variant.dynamics
    if dynamics is not None:
        defines["HARD_RESET"] = int(dynamics.v_reset is not None)
        defines["DETACH_RESET"] = int(dynamics.detach_reset)
        functions = HELPERS + function("charge", CHARGE_NAMES, in_c(dynamics.charge))
        for name, derivative in charge_derivatives(dynamics.charge).items():
            functions += function(f"charge_d{name}", CHARGE_NAMES, in_c(derivative))
        functions += function("surrogate", ("u", "alpha"), in_c(SURROGATES[dynamics.surrogate]))
    defines["ROUND_STATE"] = int(dynamics is not None and dynamics.round_state)
    defines["LEARNT_K"] = int(dynamics is not None and dynamics.k is None)
    lines = [f"#define {name} {value}" for name, value in defines.items()]
    lines += [f"constexpr int {name} = {value};" for name, value in sizes.items()]
    return "\n".join(lines) + "\n" + functions + Path(__file__).with_name("neuron.cu").read_text()


def function(name: str, arguments: tuple[str, ...], expression: str) -> str:
    parameters = ", ".join(f"float {argument}" for argument in arguments)
    return f"__device__ inline float {name}({parameters}) {{ return {expression}; }}\n"
