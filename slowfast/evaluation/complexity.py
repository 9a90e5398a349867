"""Parameters and FLOPs of a model, as fvcore counts them (one multiply-add is one)."""

import logging
import warnings
from math import prod

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from slowfast.spiking import ops  # noqa: F401  declares slowfast::fire

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


def count_flops_from_shapes(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """`count_flops` without computing anything: the operators run on meta tensors, which have shapes only.

    The same counts (batch norm 2 an element, layer and group norm 5, bilinear upsampling 4 an output element), but for
    `torch.einsum`, whose FLOPs fvcore rounds to four digits.
    """
    tensors = {
        name: tensor.to("meta") for named in (model.named_parameters, model.named_buffers) for name, tensor in named()
    }
    was_training = model.training
    model.eval()
    # By both names: some versions of torch (2.11) take apart an operator whose overload they have no formula for.
    formulas = PER_ELEMENT | {op.default: formula for op, formula in PER_ELEMENT.items()}
    operators = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), ResizeCounter() as resizing, operators:
        torch.func.functional_call(model, tensors, torch.empty(1, *clip_shape, device="meta"))
    model.train(was_training)
    counts = operators.get_flop_counts().get("Global", {})
    # Torch's own formulas count 2 for a multiply-add.
    return resizing.flops + sum(count if op in PER_ELEMENT else count // 2 for op, count in counts.items())


def _fused_norm_flops(y, mean, *args, out_shape=None, **kwargs) -> int:
    return 0 if mean is None else 2 * prod(y)


def _batch_norm_flops(x, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (1 if weight is None else 2)


def _group_norm_flops(x, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (4 if weight is None else 5)


def _layer_norm_flops(x, normalized_shape, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (4 if weight is None else 5)


# fvcore's estimates for operators that are no products of matrices.
PER_ELEMENT = {
    torch.ops.slowfast.fire: _fused_norm_flops,
    torch.ops.aten.native_batch_norm: _batch_norm_flops,
    torch.ops.aten.native_group_norm: _group_norm_flops,
    torch.ops.aten.native_layer_norm: _layer_norm_flops,
}


class ResizeCounter(TorchFunctionMode):
    """FLOPs of functions that may become other operators before an operator's counter sees them.

    Adaptive average pools turn into means: 1 an input element. Bilinear resizing is decomposed where torch is asked to
    be deterministic: 4 an output element.
    """

    POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)

    def __init__(self):
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in self.POOLS:
            self.flops += args[0].numel()
        elif func is F.interpolate and (kwargs or {}).get("mode") == "bilinear":
            self.flops += 4 * output.numel()
        return output
