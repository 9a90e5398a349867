"""Layers and helpers that several models use."""

from collections.abc import Iterable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.spiking import DropPath, checkpointed


class Stage(nn.ModuleList):
    """Blocks in sequence; the first `num_checkpointed` of them keep only their input for backward."""

    def __init__(self, blocks: list[nn.Module], num_checkpointed: int):
        super().__init__(blocks)
        self.num_checkpointed = num_checkpointed

    def forward(self, x: Tensor, **sizes: int) -> Tensor:
        """`sizes`: keyword arguments of every block."""
        for i, block in enumerate(self):
            run = partial(block, **sizes)
            x = checkpointed(run, x) if self.training and i < self.num_checkpointed else run(x)
        return x


class SampleDropPath(DropPath):
    """Stochastic depth on [B, ...]: drops the branch of whole rows of the first axis."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unsqueeze(0)).squeeze(0)


class Attention(nn.Module):
    """Multi-head softmax attention, softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017), on tokens [B, N, C]."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.scale = scale  # None: d ** -0.5
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, heads, N, d]
        dropout = self.attn_drop if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))


class MLP(nn.Module):
    """Linear, GELU, linear on tokens [B, N, C], with dropout after each map."""

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


def refuse_remainder(key: str, part: int, wholes_key: str, wholes: Iterable[int]) -> None:
    """Refuses a number of heads, or of one's channels, that does not divide all the widths.

    Raises:
        ValueError: with both keys.
    """
    for whole in wholes:
        if whole % part:
            raise ValueError(f"{key} {part} does not divide {whole} of {wholes_key}. Set a divisor.")


def init_linear(module: nn.Module) -> None:
    """Linear maps: truncated normal, std 0.02, no bias. Convolutions and norms keep torch's defaults."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
