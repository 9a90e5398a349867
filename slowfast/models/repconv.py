"""RepConv: convolutions that train as a chain with norms between and fold into one for inference (Ding et al. 2021).

The form is Meta-SpikeFormer's (Yao et al. 2024, arXiv 2404.03663, section 3.3); names of parameters are upstream's.
"""

import torch
from torch import Tensor, nn

from slowfast.spiking import BatchNorm


class PaddedBatchNorm(nn.Module):
    """Batch norm of [N, C, H, W], then one pixel on every side with the value zero has behind the norm.

    That value, bias - mean * weight / sqrt(var + eps) of the running statistics (in training after this forward has
    updated them), carries no gradient. In evaluation it is what the norm makes of padding with zeros before it.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.bn = BatchNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(x)
        count, channels, height, width = x.shape
        _, border = affine_of(self.bn)
        padded = border.detach().to(x.dtype).view(1, -1, 1, 1).repeat(count, 1, height + 2, width + 2)
        padded[..., 1:-1, 1:-1] = x
        return padded


class RepConv(nn.Module):
    """1x1 convolution, padded norm, depthwise 3x3, 1x1, norm on [N, C, H, W]; no biases."""

    def __init__(self, dim: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 1, bias=False),
            PaddedBatchNorm(dim),
            nn.Sequential(
                nn.Conv2d(dim, dim, 3, groups=dim, bias=False), nn.Conv2d(dim, dim, 1, bias=False), BatchNorm(dim)
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The 3x3 convolution, zeros around its input, that computes the same in evaluation, borders included."""
        mix, padded_norm, (spread, join, norm) = self.body
        scale, border = affine_of(padded_norm.bn)
        inner = scale[:, None] * mix.weight[..., 0, 0].double()  # [middle, in]
        taps = spread.weight[:, 0].double()  # [middle, 3, 3]
        out_scale, out_shift = affine_of(norm)
        outer = out_scale[:, None] * join.weight[..., 0, 0].double()  # [out, middle]
        conv = nn.Conv2d(inner.shape[1], outer.shape[0], 3, padding=1).to(mix.weight)
        conv.weight.copy_(torch.einsum("om,myx,mi->oiyx", outer, taps, inner))
        conv.bias.copy_(outer @ (border * taps.sum((1, 2))) + out_shift)
        return conv


def affine_of(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """What the norm multiplies with and adds in evaluation, per channel, fp64."""
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def fold_rep_convs(model: nn.Module) -> None:
    """Replaces every RepConv within `model` by its convolution."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, RepConv):
                setattr(module, name, child.folded())
