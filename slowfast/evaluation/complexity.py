"""Parameters and FLOPs of a model, as fvcore counts them (one multiply-add is one)."""

import logging
import warnings
from math import prod

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # fvcore scripts a loss at import, which torch announces
    from fvcore.nn import FlopCountAnalysis


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """FLOPs of one clip [C, T, H, W] in evaluation; neurons and element-wise operators are not counted."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    # Tracing reports every operator it does not count (each neuron), which tells a user nothing.
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model, torch.rand(1, *clip_shape, device=device))
    analysis.set_op_handle("slowfast::fire", norm_flops)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_flops)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    total = int(analysis.total())
    model.train(was_training)
    return total


def norm_flops(inputs: list, outputs: list) -> int:
    """FLOPs of the norm within a fused norm and neuron, as fvcore counts an evaluated batch norm."""
    y, mean = inputs[:2]
    return 0 if mean.type().kind() == "NoneType" else 2 * prod(y.type().sizes())


def attention_flops(inputs: list, outputs: list) -> int:
    """The two matrix products of torch's fused attention: q k^T and its product with v."""
    q, k, v = (value.type().sizes() for value in inputs[:3])
    return prod(q) * k[-2] + prod(q[:-1]) * v[-2] * v[-1]
