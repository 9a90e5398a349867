"""UniFormer: 3-D convolution blocks, then attention over space and time (Li et al. 2022, arXiv 2201.04676).

Four stages on [B, C, T, H, W]; the first embedding halves T and divides H, W by 4, the others divide H, W by 2.
Names of parameters and buffers are upstream's, so its checkpoints load as they are; those of its image models are
inflated over time.
"""

from functools import partial

import torch
from torch import Tensor, nn

from slowfast.config import add_preset, add_unsupported
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import MLP, Attention, SampleDropPath, Stage, init_linear
from slowfast.models.layouts import Layout
from slowfast.models.uniformer_section import check_head_dim, qkv_scale
from slowfast.spiking import BatchNorm

UNIFORMER = Layout(
    "UniFormer",
    has=("patch_embed1.proj.weight", "blocks1.*.pos_embed.weight", "blocks3.*.attn.qkv.weight"),
    fresh=("blocks[34].*.t_norm.*", "blocks[34].*.t_attn.*"),  # of SPLIT, from image or joint attention
)


class PatchEmbed(nn.Module):
    """Strided convolution and LayerNorm over channels: [B, C, T, H, W] -> [B, D, t, h, w]."""

    def __init__(self, in_dim: int, dim: int, kernel: tuple, stride: tuple, padding: tuple):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.proj = nn.Conv3d(in_dim, dim, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)


class ConvMLP(MLP):
    """The MLP as 1 x 1 x 1 convolutions on [B, C, T, H, W]."""

    def __init__(self, dim: int, hidden_dim: int, drop: float):
        super().__init__(dim, hidden_dim, drop)
        self.fc1, self.fc2 = nn.Conv3d(dim, hidden_dim, 1), nn.Conv3d(hidden_dim, dim, 1)


def depthwise(dim: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(dim, dim, kernel, padding=kernel // 2, groups=dim)


class ConvBlock(nn.Module):
    """Local block of the first two stages on [B, C, T, H, W]."""

    def __init__(self, dim: int, mlp_ratio: float, drop: float, drop_path: float):
        super().__init__()
        self.pos_embed = depthwise(dim, 3)
        self.norm1 = BatchNorm(dim)
        self.conv1 = nn.Conv3d(dim, dim, 1)
        self.conv2 = nn.Conv3d(dim, dim, 1)
        self.attn = depthwise(dim, 5)
        self.drop_path = SampleDropPath(drop_path)
        self.norm2 = BatchNorm(dim)
        self.mlp = ConvMLP(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class AttentionBlock(nn.Module):
    """Global block of the last two stages: attention over all tokens of [B, C, T, H, W] at once."""

    def __init__(self, dim: int, attention: partial, mlp_ratio: float, drop: float, drop_path: float):
        super().__init__()
        self.pos_embed = depthwise(dim, 3)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention(dim)
        self.drop_path = SampleDropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.pos_embed(x)).movedim(1, -1)  # [B, T, H, W, C]
        tokens = self.attend(x)  # [B, N, C]
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens.transpose(1, 2).unflatten(2, x.shape[1:4])

    def attend(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 3)
        return tokens + self.drop_path(self.attn(self.norm1(tokens)))


class SplitAttentionBlock(AttentionBlock):
    """Global block that attends over time at each position, then over each frame (UNIFORMER.SPLIT).

    The frame's attention is added to what came before the temporal one, as published: time reaches the output
    through it only.
    """

    def __init__(self, dim: int, attention: partial, mlp_ratio: float, drop: float, drop_path: float):
        super().__init__(dim, attention, mlp_ratio, drop, drop_path)
        self.t_norm = nn.LayerNorm(dim, eps=1e-6)
        self.t_attn = attention(dim)

    def attend(self, x: Tensor) -> Tensor:
        batch, _, height, width, _ = x.shape
        columns = x.permute(0, 2, 3, 1, 4).flatten(0, 2)  # [B H W, T, C]
        over_time = columns + self.drop_path(self.t_attn(self.t_norm(columns)))
        frames = over_time.unflatten(0, (batch, height, width)).permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(1, 2)
        over_frame = self.drop_path(self.attn(self.norm1(frames)))  # [B T, H W, C]
        return x.flatten(1, 3) + over_frame.unflatten(0, (batch, -1)).flatten(1, 2)

    def reset_temporal_attention(self) -> None:
        """Temporal attention starts as the mean of its (zero) values."""
        nn.init.zeros_(self.t_attn.qkv.weight)
        if self.t_attn.qkv.bias is not None:
            nn.init.zeros_(self.t_attn.qkv.bias)
        nn.init.ones_(self.t_attn.proj.weight)


@MODEL_REGISTRY.register()
class Uniformer(nn.Module):
    """Clips [B, C, T, H, W], H and W at least 32 -> logits [B, K]; section UNIFORMER."""

    layouts = (UNIFORMER,)

    def __init__(self, cfg):
        super().__init__()
        dims, depths = cfg.UNIFORMER.EMBED_DIM, cfg.UNIFORMER.DEPTH
        mlp_ratio, drop = cfg.UNIFORMER.MLP_RATIO, cfg.UNIFORMER.DROPOUT_RATE
        check_head_dim(cfg)
        self.pretrained = cfg.UNIFORMER.PRETRAIN_NAME
        checkpoints = cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4
        rates = torch.linspace(0, cfg.UNIFORMER.DROP_DEPTH_RATE, sum(depths), device="cpu").split(list(depths))

        self.patch_embed1 = PatchEmbed(cfg.DATA.INPUT_CHANNEL_NUM[0], dims[0], (3, 4, 4), (2, 4, 4), (1, 0, 0))
        kernel, padding = ((3, 2, 2), (1, 0, 0)) if cfg.UNIFORMER.STD else ((1, 2, 2), (0, 0, 0))
        for stage in (2, 3, 4):
            embed = PatchEmbed(dims[stage - 2], dims[stage - 1], kernel, (1, 2, 2), padding)
            setattr(self, f"patch_embed{stage}", embed)
        self.pos_drop = nn.Dropout(drop)
        for stage, (dim, stage_rates) in enumerate(zip(dims, rates, strict=True), start=1):
            block = partial(ConvBlock, dim, mlp_ratio, drop)
            if stage > 2:
                attention = partial(
                    Attention,
                    num_heads=dim // cfg.UNIFORMER.HEAD_DIM,
                    qkv_bias=cfg.UNIFORMER.QKV_BIAS,
                    scale=qkv_scale(cfg),
                    attn_drop=cfg.UNIFORMER.ATTENTION_DROPOUT_RATE,
                    proj_drop=drop,
                )
                block_class = SplitAttentionBlock if cfg.UNIFORMER.SPLIT else AttentionBlock
                block = partial(block_class, dim, attention, mlp_ratio, drop)
            blocks = [block(rate) for rate in stage_rates.tolist()]
            setattr(self, f"blocks{stage}", Stage(blocks, checkpoints[stage - 1]))
        self.norm = BatchNorm(dims[3])
        self.head = nn.Linear(dims[3], cfg.MODEL.NUM_CLASSES)
        self.apply(init_linear)
        for module in self.modules():
            if isinstance(module, SplitAttentionBlock):
                module.reset_temporal_attention()

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        x = self.blocks1(self.pos_drop(self.patch_embed1(clips)))
        x = self.blocks2(self.patch_embed2(x))
        x = self.blocks3(self.patch_embed3(x))
        x = self.blocks4(self.patch_embed4(x))
        return self.head(self.norm(x).mean((2, 3, 4)))


# Upstream trains this family in fp16 and clips the gradient's norm at 20.
PUBLISHED = {"TRAIN.MIXED_PRECISION": True, "SOLVER.CLIP_GRAD_L2NORM": 20.0}

add_preset("Uniformer", "Uniformer", arch="uniformer", **PUBLISHED)
add_preset("Uniformer_S", "Uniformer", **PUBLISHED)
add_preset(
    "Uniformer_B",
    "Uniformer",
    **PUBLISHED,
    **{"UNIFORMER.DEPTH": [5, 8, 20, 7], "UNIFORMER.DROP_DEPTH_RATE": 0.3},
)

# Upstream's light models, which drop tokens as they go.
add_unsupported("Uniformer_light*", "light variant of UniFormer")
