"""The spiking operators as torch knows them: `torch.ops.slowfast.*`, on the CPU and on CUDA devices.

Each has an implementation per kind of device (`kernels.cpu` or `kernels.eager`, `kernels.cuda`), a fake one for
shapes and a backward, so that autocast, DDP, activation checkpointing and torch.compile see ordinary operators.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from slowfast.spiking.dynamics import Dynamics
from slowfast.spiking.kernels import cpu, cuda, eager
from slowfast.spiking.kernels.compiled import CompiledKernels
from slowfast.spiking.kernels.layout import dense
from slowfast.utils.distributed import get_world_size

LONGEST = 4096  # time steps
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def fire(
    x: Tensor, dynamics: Dynamics, k: Tensor | None = None, v: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Spikes of a neuron for the current x [T, ...], and where the state v [...] is given the state after T.

    Without v the neuron starts from rest. Spikes have x's dtype; the state is fp32 (fp64 for fp64 currents). `k` is
    [1] where it is learnt.

    Raises:
        ValueError: no time step, or a state of another shape or device than a time step.
        TypeError: a dtype that is not floating.
        NotImplementedError: forward-mode differentiation.
    """
    check_input(x, v)
    k, v = as_computed(x, k, v)
    out, v_after = torch.ops.slowfast.fire(x, None, None, None, None, k, v, False, False, None, *dynamics)
    return out, None if v is None else v_after


def norm_fire(
    y: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor,
    bias: Tensor,
    dynamics: Dynamics | None,
    k: Tensor | None = None,
    *,
    of_batch: bool,
    sync: bool = False,
    count: Tensor | None = None,
) -> Tensor:
    """Spikes of a neuron (None: no neuron) for (y - mean) * invstd * weight + bias, y [T, B, C, ...].

    Args:
        mean, invstd, weight, bias: each [T, C], or [1, C] where all steps share it.
        k: learnt k of the neuron, [1] or [C].
        of_batch: mean and invstd are y's own, so that the gradient flows through them too.
        sync, count: they are those of all ranks, over so many values each.

    Raises:
        As `fire`.
    """
    check_input(y)
    mean, invstd, weight, bias, k = as_computed(y, mean, invstd, weight, bias, k)
    settings = (None,) * 8 if dynamics is None else dynamics
    return torch.ops.slowfast.fire(y, mean, invstd, weight, bias, k, None, of_batch, sync, count, *settings)[0]


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [T, C], fp32, of y [T, B, C, ...] over B and what follows C; no gradient."""
    check_input(y)
    return torch.ops.slowfast.moments(y.detach())


def check_input(x: Tensor, v: Tensor | None = None) -> None:
    """Raises as `fire` where a current x [T, ...], or a state v [...] beside it, is none."""
    if x.dim() == 0 or x.shape[0] == 0:
        raise ValueError(f"A spiking layer needs at least one time step; got an input of shape {tuple(x.shape)}.")
    if x.dtype not in DTYPES:
        raise TypeError(f"A spiking layer takes {', '.join(map(str, DTYPES))}; got {x.dtype}.")
    if v is None:
        return
    if not isinstance(v, Tensor):
        raise TypeError(f"The state of a stream is {type(v).__name__}; pass a tensor, or None to start at rest.")
    if v.shape != x.shape[1:] or v.device != x.device:
        raise ValueError(
            f"The state of a stream is {tuple(v.shape)} on {v.device}, and a time step of its input is "
            f"{tuple(x.shape[1:])} on {x.device}. Pass the state of the same clips, or None to start at rest."
        )


def as_computed(x: Tensor, *parameters: Tensor | None) -> list[Tensor | None]:
    """Parameters and states of a layer in the dtype in which it computes for x; their gradients come back in their own.

    Every call of the operators goes through here: the kernels read bare memory, so a model in half or double
    precision would else be read as numbers that it does not hold.
    """
    if any(tensor is not None and unpack_dual(tensor).tangent is not None for tensor in (x, *parameters)):
        # torch would call the operator without the tangents, and return zeros.
        raise NotImplementedError(
            "The spiking operators have no forward-mode derivative (torch.func.jvp, torch.autograd.forward_ad). "
            "Differentiate in reverse mode: backward(), torch.autograd.grad."
        )
    elsewhere = next((t for t in parameters if t is not None and t.device != x.device), None)
    if elsewhere is not None:
        raise ValueError(f"A spiking layer has parameters on {elsewhere.device} and its input is on {x.device}.")
    dtype = eager.working_dtype(x)
    return [tensor if tensor is None or tensor.dtype is dtype else tensor.to(dtype) for tensor in parameters]


CUDA, CPU = CompiledKernels(cuda.CudaEngine()), CompiledKernels(cpu.CpuEngine())


def backend(x: Tensor):
    """Who computes: the compiled kernels, or torch's operators for fp64, without a compiler or without CuPy.

    The kernels keep some values of every time step on a thread's stack, where those of a very long sequence have no
    room.
    """
    if x.dtype == torch.float64 or x.shape[0] > LONGEST:
        return eager
    if x.is_cuda:
        return CUDA if cuda.available() else eager
    return CPU if cpu.available() else eager


def by_backend(x: Tensor, call: Callable):
    """What `call(kernels)` returns; where the CPU's kernels turn out not to be usable, from torch's operators."""
    try:
        return call(backend(x))
    except cpu.NotCompiledError:  # before anything was computed
        return call(backend(x))


@torch.library.custom_op("slowfast::moments", mutates_args=())
def _moments(y: Tensor) -> tuple[Tensor, Tensor]:
    return by_backend(y, lambda kernels: kernels.moments(y))


@_moments.register_fake
def _(y):
    values = y.new_empty((y.shape[0], y.shape[2]), dtype=eager.working_dtype(y))
    return values, torch.empty_like(values)


@torch.library.custom_op("slowfast::fire", mutates_args=())
def _fire(
    y: Tensor,
    mean: Tensor | None,
    invstd: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    k: Tensor | None,
    v: Tensor | None,
    of_batch: bool,
    sync: bool,
    count: Tensor | None,
    charge: str | None,
    surrogate: str | None,
    alpha: float | None,
    v_threshold: float | None,
    v_reset: float | None,
    detach_reset: bool | None,
    k_constant: float | None,
    round_state: bool | None,
) -> tuple[Tensor, Tensor]:
    dynamics = described(charge, surrogate, alpha, v_threshold, v_reset, detach_reset, k_constant, round_state)
    scale, shift = affine_of(y, mean, invstd, weight, bias)
    return by_backend(y, lambda kernels: kernels.fire(y, scale, shift, spread(k, y, mean), v, dynamics))


@_fire.register_fake
def _(y, mean, invstd, weight, bias, k, v, *rest):
    y, _ = dense(y, mean is not None)
    v_after = y.new_empty(0, dtype=torch.float32) if v is None else torch.empty_like(y[0], dtype=eager.working_dtype(y))
    return torch.empty_like(y), v_after


@torch.library.custom_op("slowfast::fire_backward", mutates_args=())
def _fire_backward(
    grad_out: Tensor,
    grad_v_after: Tensor | None,
    y: Tensor,
    mean: Tensor | None,
    invstd: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    k: Tensor | None,
    v: Tensor | None,
    charge: str | None,
    surrogate: str | None,
    alpha: float | None,
    v_threshold: float | None,
    v_reset: float | None,
    detach_reset: bool | None,
    k_constant: float | None,
    round_state: bool | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dynamics = described(charge, surrogate, alpha, v_threshold, v_reset, detach_reset, k_constant, round_state)
    scale, shift = affine_of(y, mean, invstd, weight, bias)
    if mean is not None:
        mean = mean.expand_as(scale).contiguous()
    return by_backend(
        y,
        lambda kernels: kernels.fire_backward(
            grad_out, grad_v_after, y, scale, shift, mean, spread(k, y, mean), v, dynamics
        ),
    )


@_fire_backward.register_fake
def _(grad_out, grad_v_after, y, mean, invstd, weight, bias, k, v, *rest):
    y, _ = dense(y, mean is not None)
    work = eager.working_dtype(y)
    sums = y.new_empty(0 if mean is None else (2, y.shape[0], y.shape[2]), dtype=work)
    grad_v = y.new_empty(0, dtype=work) if v is None else torch.empty_like(y[0], dtype=work)
    channels = 1 if mean is None else y.shape[2]
    return torch.empty_like(y), grad_v, sums, y.new_empty(0 if k is None else channels, dtype=work)


@torch.library.custom_op("slowfast::combine", mutates_args=("grad",))
def _combine(grad: Tensor, y: Tensor, a: Tensor, b: Tensor, c: Tensor) -> None:
    by_backend(y, lambda kernels: kernels.combine(grad, y, a, b, c))


@_combine.register_fake
def _(grad, y, a, b, c):
    return None


def setup(ctx, inputs, output) -> None:
    y, mean, invstd, weight, bias, k, v, ctx.of_batch, ctx.sync, count, *ctx.settings = inputs
    ctx.save_for_backward(y, mean, invstd, weight, bias, k, v, count)


def gradients(ctx, grad_out: Tensor, grad_v_after: Tensor | None):
    y, mean, invstd, weight, bias, k, v, count = ctx.saved_tensors
    if v is None:
        grad_v_after = None
    grad_y, grad_v, sums, grad_k = torch.ops.slowfast.fire_backward(
        grad_out, grad_v_after, y, mean, invstd, weight, bias, k, v, *ctx.settings
    )
    grad_weight = grad_bias = None
    if mean is not None:
        by_weight = sums[1] * invstd
        torch.ops.slowfast.combine(grad_y, y, *input_gradient(ctx, sums[0], by_weight, y, mean, invstd, weight, count))
        grad_weight, grad_bias = by_weight.sum_to_size(weight.shape), sums[0].sum_to_size(bias.shape)
    if k is not None:
        grad_k = grad_k.sum_to_size(k.shape)
    return (
        grad_y,
        None,
        None,
        grad_weight,
        grad_bias,
        grad_k if k is not None else None,
        (grad_v if v is not None else None),
        *(None,) * 11,
    )


def input_gradient(ctx, by_bias: Tensor, by_weight: Tensor, y, mean, invstd, weight, count) -> list[Tensor]:
    """a, b, c [T, C] of the norm's own backward pass: the gradient of y is that of its output * a + y * b + c.

    With xhat = (y - mean) * invstd the gradient is invstd * (w g - sum(w g) / n - xhat * sum(w g xhat) / n), n values
    to a mean (Ioffe and Szegedy 2015, section 3); means taken elsewhere than from y drop the sums.
    """
    a = (weight * invstd).expand_as(by_bias)
    b = c = torch.zeros_like(by_bias)
    if ctx.of_batch:
        totals = torch.stack([(weight * by_bias).sum_to_size(mean.shape), (weight * by_weight).sum_to_size(mean.shape)])
        if ctx.sync and get_world_size() > 1:
            dist.all_reduce(totals)
        n = y.numel() / mean.numel() if count is None else count
        b = -(invstd.square() * totals[1] / n)
        c = -invstd * totals[0] / n - b * mean
    return [value.expand_as(by_bias).contiguous() for value in (a, b, c)]


torch.library.register_autograd("slowfast::fire", gradients, setup_context=setup)


def described(charge, *settings) -> Dynamics | None:
    return None if charge is None else Dynamics(charge, *settings)


def affine_of(y: Tensor, mean, invstd, weight, bias) -> tuple[Tensor | None, Tensor | None]:
    """scale and shift [T, C], contiguous, of a norm's parameters."""
    if mean is None:
        return None, None
    scale = weight * invstd
    shift = bias - mean * scale
    return tuple(value.expand(y.shape[0], y.shape[2]).contiguous() for value in (scale, shift))


def spread(k: Tensor | None, y: Tensor, mean: Tensor | None) -> Tensor | None:
    """k as the kernels take it: one number a channel on a device, one number for all where it is on the CPU."""
    if k is None or mean is None or backend(y) is eager:
        return k
    return k.expand(y.shape[2]).contiguous()
