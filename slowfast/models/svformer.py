"""SVFormer: a spiking video transformer with local and global paths (Yu et al. 2024, arXiv 2406.15034).

Four stages, two of convolution blocks and two of softmax-free spiking attention, on the clip's frames as
time steps. Every linear map and convolution sees one frame; time is mixed by the neurons, by norms with
statistics per time step, and by the last, grouped convolution over all of (T, H/32, W/32).
Upstream's variants that are values of `SNN.*` and `UNIFORMER.*` are the presets at the end, by their names.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from slowfast.config import add_preset, add_unsupported
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import Stage, init_linear
from slowfast.models.layouts import Layout
from slowfast.models.uniformer_section import check_head_dim, qkv_scale
from slowfast.spiking import BATCH_NORMS, BatchNorm, DropPath, build_neuron, per_step

SVFORMER = Layout(
    "SVFormer",
    has=("patch_embed1.norm.running_mean", "blocks1.*.attn.weight", "blocks3.*.attn.qkv.weight"),
    switches=(("lpDWConv.weight", "UNIFORMER.LOCAL_GLOBAL_FUSION"),),
    sizes=(
        ("dwconv_bf_head.weight", 2, "DATA.NUM_FRAMES", 1),
        ("dwconv_bf_head.weight", 3, "DATA.TRAIN_CROP_SIZE", 32),
    ),
)

Neuron = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]  # channels -> norm of [T, B, C, ...]


class PatchEmbed(nn.Module):
    """Neuron (not before the analog input), strided convolution, norm: [T, B, C, H, W] -> [T, B, D, h, w]."""

    def __init__(self, in_dim: int, dim: int, kernel: int, stride: int, norm: Norm, neuron: Neuron | None):
        super().__init__()
        self.in_lif = neuron() if neuron else nn.Identity()
        self.proj = nn.Conv2d(in_dim, dim, kernel, stride, padding=1)
        self.norm = norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(per_step(self.proj, self.in_lif(x)))


class SpikingMLP(nn.Module):
    """Two rounds of neuron, linear map over channels, norm; on [T, B, C, H, W] or tokens [T, B, N, C]."""

    def __init__(self, dim: int, hidden_dim: int, norm: Norm, neuron: Neuron, linear: Callable[[int, int], nn.Module]):
        super().__init__()
        self.act1, self.fc1, self.norm1 = neuron(), linear(dim, hidden_dim), norm(hidden_dim)
        self.act2, self.fc2, self.norm2 = neuron(), linear(hidden_dim, dim), norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = over_channels(partial(self.act2, norm=self.norm1), per_step(self.fc1, self.act1(x)))
        return over_channels(self.norm2, per_step(self.fc2, x))


def over_channels(norm: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer of [T, B, C, ...] on maps [T, B, C, H, W] as they are, on tokens [T, B, N, C] transposed."""
    return norm(x) if x.dim() == 5 else norm(x.transpose(2, 3)).transpose(2, 3)


class ConvBlock(nn.Module):
    """Local block of the first two stages on [T, B, C, H, W]; the residual stream x is real-valued."""

    def __init__(self, dim: int, mlp_ratio: float, drop_path: float, norm: Norm, neuron: Neuron):
        super().__init__()
        self.act1 = neuron()
        self.conv1 = nn.Conv2d(dim, dim, 1)
        self.attn = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv2 = nn.Conv2d(dim, dim, 1)
        self.norm2 = norm(dim)
        self.mlp = SpikingMLP(dim, int(dim * mlp_ratio), norm, neuron, partial(nn.Conv2d, kernel_size=1))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.norm2(per_step(self.mix, self.act1(x))))
        return x + self.drop_path(self.mlp(x))

    def mix(self, x: Tensor) -> Tensor:
        return self.conv2(self.attn(self.conv1(x)))


class SpikingAttention(nn.Module):
    """Softmax-free attention of spikes, q (k^T v) * scale per frame and head, on tokens [T, B, N, C]."""

    maps = 3  # q, k, v

    def __init__(self, dim: int, num_heads: int, scale: float, norm: Norm, neuron: Neuron):
        super().__init__()
        self.num_heads = num_heads
        self.scale = scale
        self.in_lif = neuron()
        self.qkv = nn.Linear(dim, self.maps * dim)
        self.norm1 = norm(self.maps * dim)
        for name in "qkv"[: self.maps]:
            setattr(self, f"{name}_lif", neuron())
        self.proj_lif = neuron()
        self.proj = nn.Linear(dim, dim)
        self.norm2 = norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = over_channels(self.norm1, self.qkv(self.in_lif(x)))
        x = x.unflatten(3, (self.maps, self.num_heads, -1))
        heads = x.permute(3, 0, 1, 4, 2, 5).unbind(0)  # each [T, B, heads, N, d]
        x = self.attend(*heads).transpose(2, 3).flatten(3)  # [T, B, N, C]
        return over_channels(self.norm2, self.proj(self.proj_lif(x)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = self.q_lif(q), self.k_lif(k), self.v_lif(v)
        return q @ (k.transpose(-2, -1) @ v) * self.scale


class QKTokenAttention(SpikingAttention):
    """Token attention of QKFormer (Zhou et al. 2024, eq. 6 to 8): tokens whose q fires enough pass their k."""

    maps = 2  # q, k

    def __init__(self, dim: int, num_heads: int, scale: float, norm: Norm, neuron: Neuron):
        super().__init__(dim, num_heads, scale, norm, neuron)
        self.token_lif = neuron()

    def attend(self, q: Tensor, k: Tensor) -> Tensor:
        tokens = self.token_lif(self.q_lif(q).sum(-1, keepdim=True))  # [T, B, heads, N, 1], 0 or 1
        return tokens * self.k_lif(k)


ATTENTIONS = {"qkv": SpikingAttention, "qk_token": QKTokenAttention}


class AttentionBlock(nn.Module):
    """Global block of the last two stages: spiking attention and MLP on the tokens of each frame."""

    def __init__(self, dim: int, mlp_ratio: float, drop_path: float, norm: Norm, neuron: Neuron, attention):
        super().__init__()
        self.attn = attention(dim, norm=norm, neuron=neuron)
        self.mlp = SpikingMLP(dim, int(dim * mlp_ratio), norm, neuron, nn.Linear)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        height_width = x.shape[-2:]
        x = x.flatten(3).transpose(2, 3)  # [T, B, C, H, W] -> [T, B, N, C]
        x = x + self.drop_path(self.attn(x))
        x = x + self.drop_path(self.mlp(x))
        return x.transpose(2, 3).unflatten(3, height_width)


@MODEL_REGISTRY.register()
class SVFormer(nn.Module):
    """Clips [B, C, T, H, W], H and W multiples of 32 -> logits [B, K]; sections SNN and UNIFORMER.

    With per-step norms T is DATA.NUM_FRAMES, with the conv head T and the size (DATA.TRAIN_CROP_SIZE) are;
    with `TIME_NORM shared` and `TIME_HEAD mean` the same weights serve any T and size.
    """

    layouts = (SVFORMER,)

    def __init__(self, cfg):
        super().__init__()
        time_steps = cfg.DATA.NUM_FRAMES
        dims, depths = cfg.UNIFORMER.EMBED_DIM, cfg.UNIFORMER.DEPTH
        mlp_ratio = cfg.UNIFORMER.MLP_RATIO
        check_geometry(cfg)
        check_head_dim(cfg)
        neuron = build_neuron(cfg)
        norm_class = BATCH_NORMS[cfg.UNIFORMER.TIME_NORM]
        norm = partial(norm_class, time_steps=time_steps)
        attention_class = ATTENTIONS[cfg.UNIFORMER.ATTENTION]
        checkpoints = cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4
        rates = torch.linspace(0, cfg.UNIFORMER.DROP_DEPTH_RATE, sum(depths), device="cpu").split(list(depths))

        self.patch_embed1 = PatchEmbed(cfg.DATA.INPUT_CHANNEL_NUM[0], dims[0], 6, 4, norm, None)
        self.pos_drop = nn.Dropout(cfg.UNIFORMER.DROPOUT_RATE)
        for stage in (2, 3, 4):
            setattr(self, f"patch_embed{stage}", PatchEmbed(dims[stage - 2], dims[stage - 1], 4, 2, norm, neuron))
        for stage, (dim, stage_rates) in enumerate(zip(dims, rates, strict=True), start=1):
            block = partial(ConvBlock, dim, mlp_ratio, norm=norm, neuron=neuron)
            if stage > 2:
                attention = partial(attention_class, num_heads=dim // cfg.UNIFORMER.HEAD_DIM, scale=qkv_scale(cfg))
                block = partial(AttentionBlock, dim, mlp_ratio, norm=norm, neuron=neuron, attention=attention)
            blocks = [block(drop_path=rate) for rate in stage_rates.tolist()]
            setattr(self, f"blocks{stage}", Stage(blocks, checkpoints[stage - 1]))

        self.fusion = cfg.UNIFORMER.LOCAL_GLOBAL_FUSION
        if self.fusion:
            self.lplif = neuron()
            self.lpDWConv = nn.Conv2d(dims[2], dims[2], 3, stride=2, padding=1, groups=dims[2])
            self.lpPWConv = nn.Conv2d(dims[2], dims[3], 1)
            self.lpBN = norm(dims[3])

        width = dims[3] * (2 if self.fusion else 1)
        self.lif_bf_head = neuron()
        if cfg.UNIFORMER.TIME_HEAD == "conv":
            side = cfg.DATA.TRAIN_CROP_SIZE // 32
            # As published: with the local path pairs of neighbouring channels share a group, without it none do.
            self.dwconv_bf_head = nn.Conv3d(width, width, (time_steps, side, side), groups=dims[3])
            self.dwconv_bn = BatchNorm(width)
        else:
            self.dwconv_bf_head = None
        self.head = nn.Linear(width, cfg.MODEL.NUM_CLASSES)
        self.apply(init_linear)

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        x = clips.permute(2, 0, 1, 3, 4)  # [B, C, T, H, W] -> [T, B, C, H, W]
        x = self.blocks1(self.pos_drop(self.patch_embed1(x)))
        x = self.blocks2(self.patch_embed2(x))
        fine = self.patch_embed3(x)
        x = self.blocks4(self.patch_embed4(self.blocks3(fine)))
        if self.fusion:
            x = torch.cat([self.local_path(fine), x], dim=2)
        x = self.lif_bf_head(x).permute(1, 2, 0, 3, 4)  # [B, C, T, h, w]
        if self.dwconv_bf_head is None:
            return self.head(x.mean((2, 3, 4)))
        if x.shape[2:] != self.dwconv_bf_head.kernel_size:
            raise ValueError(
                f"The head was built for features (T, h, w) {self.dwconv_bf_head.kernel_size} and got "
                f"{tuple(x.shape[2:])} from a clip (T, H, W) {tuple(clips.shape[2:])}. Set DATA.NUM_FRAMES, "
                "DATA.TRAIN_CROP_SIZE and DATA.TEST_CROP_SIZE to the checkpoint's, or UNIFORMER.TIME_HEAD mean."
            )
        return self.head(self.dwconv_bn(self.dwconv_bf_head(x)).flatten(1))

    def local_path(self, x: Tensor) -> Tensor:
        """Spikes of stage 3's input brought to the size and width of stage 4, without attention."""
        x = per_step(self.lpDWConv, self.lplif(x))
        return self.lpBN(per_step(self.lpPWConv, x))


def check_geometry(cfg) -> None:
    """Refuses crops that the stages cannot divide."""
    for key in ("TRAIN_CROP_SIZE", "TEST_CROP_SIZE") if cfg.TEST.ENABLE else ("TRAIN_CROP_SIZE",):
        if cfg.DATA[key] % 32:
            size = cfg.DATA[key]
            nearest = max(round(size / 32), 1) * 32
            raise ValueError(f"SVFormer needs crops that 32 divides: DATA.{key} {size}. Set {nearest}.")


# The published neuron; upstream trains this family in fp16 and clips the gradient's norm at 20.
PUBLISHED = {
    "SNN.NEURON": "PLIF",
    "SNN.TAU": 2.0,
    "SNN.V_THRESHOLD": 1.0,
    "SNN.SURROGATE": "atan",
    "SNN.SURROGATE_ALPHA": 2.0,
    "TRAIN.MIXED_PRECISION": True,
    "SOLVER.CLIP_GRAD_L2NORM": 20.0,
}

add_preset("SVFormer", "SVFormer", **PUBLISHED)
for upstream_name, values in {
    "Uniformer2d_psnn": {"UNIFORMER.LOCAL_GLOBAL_FUSION": False},
    "Uniformer2d_psnn_try": {},
    "Uniformer2d_psnn_lgf": {"SNN.V_THRESHOLD": 0.5},
    "Uniformer2d_psnn_lgfT": {"SNN.V_THRESHOLD": 2.0},
    "Uniformer2d_psnn_lgfT_t8_T24": {"DATA.NUM_FRAMES": 24},
    "Uniformer2d_psnn_tri": {"SNN.SURROGATE": "sigmoid", "SNN.SURROGATE_ALPHA": 4.0},
    "Uniformer2d_if_lgf": {"SNN.NEURON": "LIF"},
}.items():
    add_preset(upstream_name, "SVFormer", arch=upstream_name.lower(), **(PUBLISHED | values))

# Upstream's variants with other blocks, heads or convolutions over time: no settings here make one of them.
for upstream_name in (
    "Uniformer2d_snn",
    "Uniformer2d_prsnn",
    "Uniformer2d_psnn_act",
    "Uniformer2d_psnn_norm",
    "Uniformer2d_psnn_bn",
    "Uniformer2d_psnn_convBnLif",
    "Uniformer2d_psnn_head",
    "Uniformer2d_psnn_qkf",
    "Uniformer2d_psnn_convqkf",
    "Uniformer_snn",
    "Uniformer_psnn",
    "Uniformer3d_psnn",
    "Uniformer3d_psnn_lgf",
):
    add_unsupported(upstream_name, "variant of SVFormer")
