"""Parameters and FLOPs of a model, as fvcore counts them (one multiply-add is one)."""

import logging
import warnings
from math import prod

import torch
from torch import Tensor, nn
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
    operators = FlopCounterMode(display=False, custom_mapping=PER_ELEMENT)
    with torch.no_grad(), AdaptivePoolCounter() as pools, operators:
        torch.func.functional_call(model, tensors, torch.empty(1, *clip_shape, device="meta"))
    model.train(was_training)
    counts = operators.get_flop_counts().get("Global", {})
    # Torch's own formulas count 2 for a multiply-add.
    return pools.elements + sum(count if op in PER_ELEMENT else count // 2 for op, count in counts.items())


def _fused_norm_flops(y, mean, *args, out_shape=None, **kwargs) -> int:
    return 0 if mean is None else 2 * prod(y)


def _batch_norm_flops(x, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (1 if weight is None else 2)


def _group_norm_flops(x, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (4 if weight is None else 5)


def _layer_norm_flops(x, normalized_shape, weight, *args, out_shape=None, **kwargs) -> int:
    return prod(x) * (4 if weight is None else 5)


def _bilinear_flops(*args, out_shape=None, **kwargs) -> int:
    return 4 * prod(out_shape)


# fvcore's estimates for operators that are no products of matrices.
PER_ELEMENT = {
    torch.ops.slowfast.fire: _fused_norm_flops,
    torch.ops.aten.native_batch_norm: _batch_norm_flops,
    torch.ops.aten.native_group_norm: _group_norm_flops,
    torch.ops.aten.native_layer_norm: _layer_norm_flops,
    torch.ops.aten.upsample_bilinear2d: _bilinear_flops,
}


class AdaptivePoolCounter(TorchFunctionMode):
    """Input elements of adaptive average pools, which become means before an operator could tell them."""

    POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.POOLS and isinstance(args[0], Tensor):
            self.elements += args[0].numel()
        return func(*args, **(kwargs or {}))
