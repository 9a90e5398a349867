"""Cross-attention of spiking feature maps on those of a key frame, ReSpike's fusion (arXiv 2409.01564).

The blocks are those of latent diffusion's spatial transformer (Rombach et al. 2022, arXiv 2112.10752), and so are the
names of their parameters: attention within the map, attention on the context, GEGLU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.spiking import per_step


class CrossAttention(nn.Module):
    """Softmax attention of tokens [T, B, N, C] on those of a context [T, B, M, D]."""

    def __init__(self, dim: int, context_dim: int, dim_head: int, dropout: float):
        super().__init__()
        self.num_heads = dim // dim_head
        self.attend = attend
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            tokens.unflatten(3, (self.num_heads, -1)).transpose(2, 3)  # [T, B, heads, N, d]
            for tokens in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        return self.to_out(self.attend(q, k, v).transpose(2, 3).flatten(3))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of [T, B, heads, N, d], in one fused operator.

    A trace shows the products by themselves, a step at a time: that is what the published FLOPs are counted from.
    """
    if torch.jit.is_tracing():
        return attend_stepwise(q, k, v)
    out = F.scaled_dot_product_attention(*(tensor.flatten(0, 1) for tensor in (q, k, v)))
    return out.unflatten(0, q.shape[:2])


def attend_stepwise(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same as two products and a softmax for each step."""
    steps = []
    for q_t, k_t, v_t in zip(q.unbind(), k.unbind(), v.unbind(), strict=True):
        scores = torch.einsum("bhid,bhjd->bhij", q_t * q.shape[-1] ** -0.5, k_t)
        steps.append(torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v_t))
    return torch.stack(steps)


class GEGLU(nn.Module):
    """One linear map to two halves, a * gelu(b) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU to four times the channels and back."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Dropout(dropout), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention within each map, attention on the context, then the feed-forward, on tokens [T, B, N, C]."""

    def __init__(self, dim: int, context_dim: int, dim_head: int, dropout: float):
        super().__init__()
        self.attn1 = CrossAttention(dim, dim, dim_head, dropout)
        self.attn2 = CrossAttention(dim, context_dim, dim_head, dropout)
        self.ff = FeedForward(dim, dropout)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Adds to every step of the maps [T, B, C, H, W] what it attends to in the context map [B, D, h, w].

    The last convolution starts at zero, so that the maps pass unchanged. C is a multiple of 32.
    """

    def __init__(self, dim: int, context_dim: int, *, depth: int, dim_head: int, dropout: float):
        super().__init__()
        self.norm = nn.GroupNorm(32, dim, eps=1e-6)
        self.proj_in = nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(dim, context_dim, dim_head, dropout) for _ in range(depth)
        )
        self.proj_out = nn.Conv2d(dim, dim, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        tokens = per_step(self.proj_in, per_step(self.norm, x)).flatten(3).transpose(2, 3)  # [T, B, N, C]
        # Keys and values are made anew for every step, as published, so that FLOPs are the published model's.
        context = context.flatten(2).transpose(1, 2).expand(len(x), -1, -1, -1)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + per_step(self.proj_out, tokens.transpose(2, 3).unflatten(3, x.shape[3:]))
