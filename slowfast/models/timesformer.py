"""TimeSformer: a vision transformer on video (Bertasius et al. 2021, arXiv 2102.05095), with token mixing of two clips.

It is the backbone of semi-supervised SVFormer (Xing et al. 2023, arXiv 2211.13222), whose names its parameters have
behind `model.`; that project's students are the preset `vit_base_patch16_224_mix`.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.config import Key, add_preset, add_section
from slowfast.config.valid import RATE, RATIO, TEXT, choice, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import MLP, Attention, SampleDropPath, Stage, init_linear, refuse_remainder
from slowfast.models.layouts import Layout

add_section(
    "TIMESFORMER",
    {
        "ATTENTION_TYPE": Key(
            "divided_space_time",
            "divided_space_time: over time, then over each frame; joint_space_time: over all tokens at once; "
            "space_only: over each frame, and the mean over frames.",
            valid=choice("divided_space_time", "joint_space_time", "space_only"),
        ),
        "EMBED_DIM": Key(768, "Channels of a token.", valid=whole(1)),
        "DEPTH": Key(12, "Blocks.", valid=whole(1)),
        "NUM_HEADS": Key(12, "Attention heads.", valid=whole(1)),
        "PATCH_SIZE": Key(16, "Side of a patch.", "pixels", valid=whole(1)),
        "MLP_RATIO": Key(4, "Hidden over outer channels in the MLPs.", valid=RATIO),
        "QKV_BIAS": Key(True, "Bias of the map to queries, keys and values."),
        "DROP_RATE": Key(0.0, "Dropout of the tokens, in the MLPs and after attention.", valid=RATE),
        "ATTN_DROP_RATE": Key(0.0, "Dropout of the attention weights.", valid=RATE),
        "DROP_PATH_RATE": Key(
            0.1, "Stochastic depth of the last block; rises linearly from 0 at the first.", valid=RATE
        ),
        "PRETRAINED_MODEL": Key(
            "",
            "ImageNet ViT weights to start training from, a path or a name for $CKPT_ROOT/NAME.pth; empty: none.",
            valid=TEXT,
        ),
    },
)

GRID = 14  # positions are learnt for 14 x 14 patches, whatever the crop


class PatchEmbed(nn.Module):
    """Frames [N, C, H, W] -> maps of tokens [N, D, h, w]."""

    def __init__(self, in_dim: int, dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(in_dim, dim, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Block(nn.Module):
    """Attention over all the tokens [B, N, D] it is given, then an MLP."""

    def __init__(self, dim: int, attention: partial, mlp_ratio: float, drop: float, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention(dim)
        self.drop_path = SampleDropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        x = self.attend(x, num_frames)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attend(self, x: Tensor, num_frames: int) -> Tensor:
        return x + self.drop_path(self.attn(self.norm1(x)))


class DividedBlock(Block):
    """Attention over time at each position, then over each frame and the class token, then an MLP.

    Tokens [B, 1 + N * T, D], the class token first, time fastest. Stochastic depth drops whole positions of the
    temporal and whole frames of the spatial attention, as published.
    """

    def __init__(self, dim: int, attention: partial, mlp_ratio: float, drop: float, drop_path: float):
        super().__init__(dim, attention, mlp_ratio, drop, drop_path)
        self.temporal_norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.temporal_attn = attention(dim)
        self.temporal_fc = nn.Linear(dim, dim)

    def attend(self, x: Tensor, num_frames: int) -> Tensor:
        cls, patches = x[:, :1], x[:, 1:].unflatten(1, (-1, num_frames))  # [B, 1, D], [B, N, T, D]
        over_time = self.drop_path(self.temporal_attn(self.temporal_norm1(patches.flatten(0, 1))))
        patches = patches + self.temporal_fc(over_time).unflatten(0, patches.shape[:2])
        copies = cls.unsqueeze(1).expand(-1, num_frames, -1, -1)
        frames = torch.cat([copies, patches.transpose(1, 2)], dim=2)  # [B, T, 1 + N, D]
        over_frame = self.drop_path(self.attn(self.norm1(frames.flatten(0, 1)))).unflatten(0, frames.shape[:2])
        cls = cls + over_frame[:, :, 0].mean(1, keepdim=True)
        patches = patches + over_frame[:, :, 1:].transpose(1, 2)
        return torch.cat([cls, patches.flatten(1, 2)], dim=1)


ATTENTION_TYPES = {"divided_space_time": DividedBlock, "joint_space_time": Block, "space_only": Block}


def from_video(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for another number of frames: each frame takes the time embedding that is nearest."""
    time = tensors.get("time_embed")
    if time is not None and "time_embed" in own:
        tensors["time_embed"] = resized_in_time(time, own["time_embed"].shape[1])
    return tensors


def from_image(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """ViT weights of images: positions for the own grid, and temporal attention as a copy of the spatial one."""
    fold_layer_scale(tensors)
    tensors["pos_embed"] = resized_positions(tensors["pos_embed"])
    for key in own:
        spatial = key.replace(".temporal_", ".")
        if spatial != key and spatial in tensors:
            tensors[key] = tensors[spatial]
    return tensors


def fold_layer_scale(tensors: dict[str, Tensor]) -> None:
    """LayerScale (Touvron et al. 2021, of DeiT III) as part of the map it follows, which is the same function."""
    scales = {"gamma_1": "attn.proj", "ls1.gamma": "attn.proj", "gamma_2": "mlp.fc2", "ls2.gamma": "mlp.fc2"}
    for key in list(tensors):
        for scale, layer in scales.items():
            if key.endswith(f".{scale}"):
                gamma = tensors.pop(key)
                target = key.removesuffix(scale) + layer
                tensors[f"{target}.weight"] = tensors[f"{target}.weight"] * gamma.unsqueeze(1)
                tensors[f"{target}.bias"] = tensors[f"{target}.bias"] * gamma


def resized_positions(positions: Tensor) -> Tensor:
    """Position embeddings [1, P + N, D] of a square grid as [1, 1 + GRID ** 2, D], by bicubic interpolation.

    Of P tokens before the grid the first is the class token; without any (DeiT III) it gets zeros.
    """
    side = math.isqrt(positions.shape[1])
    before = positions.shape[1] - side**2
    cls = positions[:, :1] if before else torch.zeros_like(positions[:, :1])
    grid = positions[:, before:]
    if side != GRID:
        grid = grid.transpose(1, 2).unflatten(2, (side, side)).float()
        grid = F.interpolate(grid, size=(GRID, GRID), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    return torch.cat([cls, grid], dim=1)


def resized_in_time(embedding: Tensor, num_frames: int) -> Tensor:
    """Time embeddings [1, T, D] for another T by the nearest."""
    return F.interpolate(embedding.transpose(1, 2), size=num_frames, mode="nearest").transpose(1, 2)


UPSTREAM = Layout(
    "semi-supervised SVFormer", has=("time_embed", "cls_token"), names=(("model.", ""),), convert=from_video
)
UPSTREAM_MIX = Layout(
    "semi-supervised SVFormer with token mixing",
    has=("model.time_embed", "model.cls_token"),
    names=(("head.", "head."), ("model.", "")),
    convert=from_video,
)
TIMM_VIT = Layout(
    "timm ViT",
    container="",
    has=("cls_token", "pos_embed", "blocks.*.attn.qkv.weight"),
    lacks=("*time_embed", "*.temporal_*", "*.pool_*"),
    drops=("head_dist.*", "dist_token", "pre_logits.*"),
    fresh=("time_embed", "blocks.*.temporal_fc.*"),
    convert=from_image,
)


@MODEL_REGISTRY.register()
class TimeSformer(nn.Module):
    """Clips [B, C, T, H, W] -> logits [B, K]; section TIMESFORMER.

    The position embeddings of 14 x 14 patches and the time embeddings of DATA.NUM_FRAMES frames serve any other size
    by their nearest.
    """

    layouts = (UPSTREAM, UPSTREAM_MIX, TIMM_VIT)

    def __init__(self, cfg):
        super().__init__()
        dim, drop = cfg.TIMESFORMER.EMBED_DIM, cfg.TIMESFORMER.DROP_RATE
        check_geometry(cfg)
        self.pretrained = cfg.TIMESFORMER.PRETRAINED_MODEL
        self.attention_type = cfg.TIMESFORMER.ATTENTION_TYPE
        block = ATTENTION_TYPES[self.attention_type]
        attention = partial(
            Attention,
            num_heads=cfg.TIMESFORMER.NUM_HEADS,
            qkv_bias=cfg.TIMESFORMER.QKV_BIAS,
            attn_drop=cfg.TIMESFORMER.ATTN_DROP_RATE,
            proj_drop=drop,
        )
        rates = torch.linspace(0, cfg.TIMESFORMER.DROP_PATH_RATE, cfg.TIMESFORMER.DEPTH, device="cpu").tolist()
        checkpoints = cfg.MODEL.CHECKPOINT_NUM[0] if cfg.MODEL.USE_CHECKPOINT else 0

        self.patch_embed = PatchEmbed(cfg.DATA.INPUT_CHANNEL_NUM[0], dim, cfg.TIMESFORMER.PATCH_SIZE)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, dim))
        if self.attention_type != "space_only":
            self.time_embed = nn.Parameter(torch.zeros(1, cfg.DATA.NUM_FRAMES, dim))
        self.drop = nn.Dropout(drop)
        blocks = [block(dim, attention, cfg.TIMESFORMER.MLP_RATIO, drop, rate) for rate in rates]
        self.blocks = Stage(blocks, checkpoints)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, cfg.MODEL.NUM_CLASSES)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normals of std 0.02; time starts without effect: its embedding and `temporal_fc` are zero."""
        self.apply(init_linear)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for block in self.blocks:
            if isinstance(block, DividedBlock):
                nn.init.zeros_(block.temporal_fc.weight)

    def no_weight_decay(self) -> set[str]:
        return {"cls_token", "pos_embed", "time_embed"}

    def forward(self, clips: Tensor | list[Tensor], mask: Tensor | None = None) -> Tensor:
        """With a token mask the clips are pairs, mixed by `mix_tokens`, and the logits are of the mixtures."""
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        return self.head(self.forward_features(clips, mask))

    def forward_features(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Clips [B, C, T, H, W] -> the class token behind the last norm [B, D]."""
        num_frames = clips.shape[2]
        maps = self.patch_embed(clips.transpose(1, 2).flatten(0, 1))  # [B T, D, h, w]
        tokens = maps.flatten(2).transpose(1, 2).unflatten(0, (-1, num_frames))  # [B, T, N, D]
        if mask is not None:
            tokens = mix_tokens(tokens, mask)
        cls_position, positions = self.positions(*maps.shape[2:])
        tokens = self.drop(tokens + positions)
        if self.attention_type == "space_only":
            tokens = tokens.flatten(0, 1)  # [B T, N, D]
        else:
            tokens = self.drop(tokens.transpose(1, 2) + resized_in_time(self.time_embed, num_frames)).flatten(1, 2)
        cls = self.drop((self.cls_token + cls_position).expand(len(tokens), -1, -1))
        x = self.blocks(torch.cat([cls, tokens], dim=1), num_frames=num_frames)
        if self.attention_type == "space_only":
            x = x.unflatten(0, (-1, num_frames)).mean(1)
        return self.norm(x)[:, 0]

    def positions(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Position embeddings of the class token [1, 1, D] and of a grid of patches [1, h w, D]."""
        cls, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if height * width != GRID**2:
            grid = grid.transpose(1, 2).unflatten(2, (GRID, GRID))
            grid = F.interpolate(grid, size=(height, width), mode="nearest").flatten(2).transpose(1, 2)
        return cls, grid


@MODEL_REGISTRY.register()
class TimeSformerMix(TimeSformer):
    """The same network as upstream's students keep it: `model.*` without a head, and the head beside it."""

    layouts = (UPSTREAM_MIX, UPSTREAM, TIMM_VIT)


def mix_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    """Tokens [2B, T, N, D] of B first and B second clips, mask [B, T, N] -> the first's where 1, else the second's.

    Raises:
        ValueError: shapes that do not belong together.
    """
    batch, rest = divmod(len(tokens), 2)
    if rest or mask.shape[1:] != tokens.shape[1:3] or len(mask) < batch:
        raise ValueError(
            f"Token mixing takes 2B clips and a mask [B, T, N]: got tokens (2B, T, N) {tuple(tokens.shape[:3])} and a "
            f"mask {tuple(mask.shape)}."
        )
    first, second = tokens.chunk(2)
    return torch.where(mask[:batch].bool().unsqueeze(-1), first, second)


def check_geometry(cfg) -> None:
    """Refuses widths that cannot be split into heads and crops without a patch."""
    dim, heads = cfg.TIMESFORMER.EMBED_DIM, cfg.TIMESFORMER.NUM_HEADS
    refuse_remainder("TIMESFORMER.NUM_HEADS", heads, "TIMESFORMER.EMBED_DIM", [dim])
    if cfg.DATA.TRAIN_CROP_SIZE < cfg.TIMESFORMER.PATCH_SIZE:
        size, patch = cfg.DATA.TRAIN_CROP_SIZE, cfg.TIMESFORMER.PATCH_SIZE
        raise ValueError(f"DATA.TRAIN_CROP_SIZE {size} has no patch of TIMESFORMER.PATCH_SIZE {patch}. Set {patch}.")


SMALL = {"TIMESFORMER.EMBED_DIM": 384, "TIMESFORMER.NUM_HEADS": 6}
add_preset("vit_base_patch16_224", "TimeSformer", arch="vit")
add_preset("vit_base_patch16_224_mix", "TimeSformerMix")
add_preset("TimeSformer_B", "TimeSformer")
add_preset("TimeSformer_S", "TimeSformer", **SMALL)
