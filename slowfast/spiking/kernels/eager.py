"""The operators from torch's own, over blocks of neurons small enough that all passes over one stay in a CPU's cache.

Tensors are [T, B, C, ...], those of a neuron alone [T, ...]; parameters of an affine are [T, C]; `k` is [C], or
[1] for all channels. Arithmetic is fp32, and fp64 for fp64 tensors.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from slowfast.spiking.dynamics import SURROGATES, Dynamics, as_function, charge_functions
from slowfast.spiking.kernels.layout import Layout, as_block, dense, like, step_as_block

BLOCK = 32768  # neurons of a block for each thread: below that torch does not divide an operation among threads


def fire(y: Tensor, scale, shift, k, v, dynamics: Dynamics | None) -> tuple[Tensor, Tensor]:
    """Spikes of `dynamics` (None: the affine alone) for y * scale + shift; the potential after T if v is given."""
    y, layout = dense(y, scale is not None)
    work = working_dtype(y)
    out = torch.empty_like(y)
    v_after = y.new_empty(0, dtype=work) if v is None else torch.empty_like(y[0], dtype=work)
    inputs, outputs = as_block(y, layout), as_block(out, layout)
    before = None if v is None else step_as_block(like(v, y[0]), layout)
    after = None if v is None else step_as_block(v_after, layout)
    for part in parts(layout):
        x = affine(inputs[part].to(work), scale, shift, part)
        if dynamics is None:
            outputs[part] = x
            continue
        at_rest = None if before is None else before[part[1:]]
        h, _, states = integrate(x, of_channels(k, part), at_rest, dynamics, y.dtype)
        torch.ge(h, dynamics.v_threshold, out=outputs[part])
        if states[-1].isnan().any():  # a NaN shows instead of passing for silence
            outputs[part].masked_fill_(h.isnan(), float("nan"))
        if after is not None:
            after[part[1:]] = states[-1]
    return out, v_after


def fire_backward(grad_out: Tensor, grad_v_after, y: Tensor, scale, shift, mean, k, v, dynamics: Dynamics | None):
    """Gradients behind the affine, from those of the spikes and of v_after (or None).

    Returns: that of the neuron's input; of v (empty without v); sums [2, T, C] of the first and of the first times
    y - mean (empty without an affine); of k [C] (empty without k).
    """
    y, layout = dense(y, scale is not None)
    work = working_dtype(y)
    grad_in = torch.empty_like(y)
    grad_v = y.new_empty(0, dtype=work) if v is None else torch.empty_like(y[0], dtype=work)
    sums = y.new_zeros((2, y.shape[0], layout.channels) if scale is not None else 0, dtype=work)
    grad_k = y.new_zeros(0 if k is None else layout.channels, dtype=work)
    inputs, results = as_block(y, layout), as_block(grad_in, layout)
    arriving = as_block(like(grad_out, y), layout)
    states = [None if state is None else step_as_block(like(state, y[0]), layout) for state in (v, grad_v_after)]
    for part in parts(layout):
        stored, grad = inputs[part].to(work), arriving[part].to(work)
        if dynamics is not None:
            x = affine(stored, scale, shift, part)
            before, grad_after = (None if state is None else state[part[1:]] for state in states)
            grad, grad_before, through_k = through_neuron(
                grad, grad_after, x, of_channels(k, part), before, dynamics, y.dtype
            )
            if k is not None:
                grad_k[part[2]] += through_k.sum((0, 1, 3))
            if v is not None:
                step_as_block(grad_v, layout)[part[1:]] = grad_before
        results[part] = grad
        if scale is not None:
            sums[0, :, part[2]] += grad.sum((1, 3))
            sums[1, :, part[2]] += (stored - per_channel(mean, part)).mul_(grad).sum((1, 3))
    return grad_in, grad_v, sums, grad_k


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [T, C] of y [T, B, C, ...] over B and the dimensions behind C."""
    y, layout = dense(y, True)
    work = working_dtype(y)
    values = as_block(y, layout)
    pivot = values[:, 0, :, 0].to(work)  # keeps the squares from cancelling
    sums = values.new_zeros((2, y.shape[0], layout.channels), dtype=work)
    for part in parts(layout):
        centred = values[part].to(work) - per_channel(pivot, part)
        sums[0, :, part[2]] += centred.sum((1, 3))
        sums[1, :, part[2]] += centred.square_().sum((1, 3))
    first, second = sums / (layout.outer * layout.inner)
    return pivot + first, (second - first.square()).clamp_min_(0)


def combine(grad: Tensor, y: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """grad * a + y * b + c, with a, b, c [T, C], in the memory of `grad`, which fire_backward has just made."""
    y, layout = dense(y, True)
    work = working_dtype(y)
    values, grads = as_block(y, layout), as_block(grad, layout)
    for part in parts(layout):
        result = torch.addcmul(per_channel(c, part), grads[part].to(work), per_channel(a, part))
        grads[part] = result.addcmul_(values[part].to(work), per_channel(b, part))
    return grad


def integrate(x: Tensor, k, v: Tensor | None, dynamics: Dynamics, state_dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials h [T, ...] before the reset for inputs x [T, ...], 1 for silence (else 0), and states [T + 1, ...].

    The states are the potentials after the reset, the first the one before the first step.
    """
    constants = (k if k is not None else dynamics.k, dynamics.rest)
    charge, derivatives, linear = charge_functions(dynamics.charge)
    if linear:  # h = dv v + dx x + a constant: all but the first term for all steps at once
        dv, dx = (derivatives[name](0.0, 0.0, *constants) for name in "vx")
        h = (x * dx).add_(charge(0.0, 0.0, *constants))
    else:
        h = torch.empty_like(x)
    silent, states = torch.empty_like(x), x.new_empty((len(x) + 1, *x.shape[1:]))
    states[0] = dynamics.rest if v is None else v
    for t, h_t in enumerate(h):
        if not linear:
            h_t.copy_(charge(states[t], x[t], *constants))
        elif isinstance(dv, Tensor):
            h_t.addcmul_(states[t], dv)
        else:
            h_t.add_(states[t], alpha=dv)
        torch.lt(h_t, dynamics.v_threshold, out=silent[t])
        after_reset(h_t, silent[t], dynamics, state_dtype, out=states[t + 1])
    return h, silent, states


def after_reset(h: Tensor, silent: Tensor, dynamics: Dynamics, state_dtype: torch.dtype, out: Tensor) -> None:
    if dynamics.v_reset is None:
        torch.add(h, silent - 1, alpha=dynamics.v_threshold, out=out)
    else:  # chosen, not weighted: infinity * 0 is NaN
        out.copy_(h).masked_fill_(h >= dynamics.v_threshold, dynamics.v_reset)
    if dynamics.round_state:
        out.copy_(out.to(state_dtype))


def through_neuron(grad: Tensor, grad_v_after, x: Tensor, k, v, dynamics: Dynamics, state_dtype: torch.dtype):
    """Gradients of the input, of the potential before the first step, and (summed by the caller) of k."""
    h, silent, states = integrate(x, k, v, dynamics, state_dtype)
    constants = (k if k is not None else dynamics.k, dynamics.rest)
    _, derivatives, _ = charge_functions(dynamics.charge)
    dv, dx, dk = (derivatives[name](states[:-1], x, *constants) for name in "vxk")
    slope = as_function(SURROGATES[dynamics.surrogate], ("u", "alpha"))(h - dynamics.v_threshold, dynamics.alpha)
    if dynamics.v_reset is None:
        through_reset = torch.ones_like(h) if dynamics.detach_reset else 1 - dynamics.v_threshold * slope
    else:
        through_reset = silent if dynamics.detach_reset else silent + (dynamics.v_reset - h) * slope
    grad = slope.mul_(grad)
    if grad_v_after is not None:
        grad[-1].addcmul_(grad_v_after, through_reset[-1])
    varies = isinstance(dv, Tensor) and dv.dim() == h.dim()
    through_step = through_reset[:-1] * (dv[1:] if varies else dv)
    for t in range(len(h) - 2, -1, -1):
        grad[t].addcmul_(grad[t + 1], through_step[t])
    grad_before = grad[0] * (dv[0] if varies else dv)
    through_k = None if k is None else grad * dk
    return grad.mul_(dx), grad_before, through_k


def parts(layout: Layout) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Slices of [T, outer, channels, inner] that cover it once, all time steps in each."""
    size = BLOCK * torch.get_num_threads()
    whole = slice(None)
    if layout.inner >= size:
        for outer in range(layout.outer):
            for channel in range(layout.channels):
                for start in range(0, layout.inner, size):
                    yield whole, slice(outer, outer + 1), slice(channel, channel + 1), slice(start, start + size)
    elif layout.channels * layout.inner >= size:
        channels = size // layout.inner
        for outer in range(layout.outer):
            for start in range(0, layout.channels, channels):
                yield whole, slice(outer, outer + 1), slice(start, start + channels), whole
    elif layout.channels * layout.inner:
        rows = size // (layout.channels * layout.inner)
        for start in range(0, layout.outer, rows):
            yield whole, slice(start, start + rows), whole, whole


def affine(x: Tensor, scale: Tensor | None, shift: Tensor | None, part) -> Tensor:
    return x if scale is None else torch.addcmul(per_channel(shift, part), x, per_channel(scale, part))


def per_channel(values: Tensor, part) -> Tensor:
    """The part's rows of [T, C], to combine with [T, outer, channels, inner]."""
    return values[:, None, part[2], None]


def of_channels(k: Tensor | None, part) -> Tensor | float | None:
    """The part's k: a number where all channels share it, else [1, channels, 1]."""
    if k is None:
        return None
    return k.item() if k.numel() == 1 else k[None, part[2], None]


def working_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
