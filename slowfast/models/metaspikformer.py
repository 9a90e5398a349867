"""Meta-SpikeFormer, or Spike-Driven Transformer V2, on images and video (Yao et al. 2024, arXiv 2404.03663).

Two stages of convolution blocks, two of softmax-free spiking attention; every convolution but the first sees spikes.
An image is shown for METASPIKFORMER.TIME_STEPS, the frames of a video are its time steps. Norms are shared over time.
Names of parameters and buffers are upstream's, so its checkpoints load as they are.
"""

from collections.abc import Callable

from torch import Tensor, nn

from slowfast.config import CfgNode, ConfigError, Key, add_preset, add_section, preset_model
from slowfast.config.check import rule
from slowfast.config.valid import RATIO, TEXT, listed, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import Stage, init_linear, refuse_remainder
from slowfast.models.layouts import Layout
from slowfast.models.repconv import RepConv, fold_rep_convs
from slowfast.spiking import SharedBatchNorm, build_neuron, per_step

add_section(
    "METASPIKFORMER",
    {
        "EMBED_DIM": Key(
            [96, 192, 384, 480],
            "Channels of the four stages; the first half of stage 1 has half of its.",
            valid=listed(whole(1), 4),
        ),
        "NUM_HEADS": Key(8, "Attention heads of stages 3 and 4.", valid=whole(1)),
        "MLP_RATIO": Key(4, "Hidden over outer channels in all blocks.", valid=RATIO),
        "KD": Key(False, "A second classifier, for distillation: training gives both logits, evaluation their mean."),
        "TIME_STEPS": Key(
            1, "Time steps an image, a clip of one frame, is shown for; else the frames are the steps.", valid=whole(1)
        ),
        "PRETRAIN_NAME": Key(
            None, "Weights to start training from, a path or a name for $CKPT_ROOT/NAME.pth. None: none.", valid=TEXT
        ),
    },
)

METASPIKFORMER = Layout(
    "Meta-SpikeFormer / Spike-Driven Transformer V2",
    has=("downsample1_1.encode_conv.weight", "ConvBlock1_1.0.Conv.pwconv1.weight", "block3.*.attn.q_conv.0.body.*"),
    container="model",
)

Neuron = Callable[[], nn.Module]

ATTENTION_SCALE = 0.125  # published for every width, not d ** -0.5


def shared_norm(dim: int) -> SharedBatchNorm:
    return SharedBatchNorm(dim, time_steps=1)  # the number does not matter to a shared norm


class Downsampling(nn.Module):
    """Neuron (not before the analog input), convolution, norm: [T, B, C, H, W] -> [T, B, D, h, w]."""

    def __init__(self, in_dim: int, dim: int, kernel: int, stride: int, neuron: Neuron | None):
        super().__init__()
        self.encode_lif = neuron() if neuron else nn.Identity()
        self.encode_conv = nn.Conv2d(in_dim, dim, kernel, stride, padding=kernel // 2)
        self.encode_bn = shared_norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode_bn(per_step(self.encode_conv, self.encode_lif(x)))


class SepConv(nn.Module):
    """Separable convolution: 1x1 to twice the channels, depthwise 7x7, 1x1 back."""

    def __init__(self, dim: int, neuron: Neuron):
        super().__init__()
        self.lif1 = neuron()
        self.pwconv1 = nn.Conv2d(dim, 2 * dim, 1, bias=False)
        self.bn1 = shared_norm(2 * dim)
        self.lif2 = neuron()
        self.dwconv = nn.Conv2d(2 * dim, 2 * dim, 7, padding=3, groups=2 * dim, bias=False)
        self.pwconv2 = nn.Conv2d(2 * dim, dim, 1, bias=False)
        self.bn2 = shared_norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif2(per_step(self.pwconv1, self.lif1(x)), norm=self.bn1)
        return self.bn2(per_step(self.pwconv2, per_step(self.dwconv, x)))


class ConvBlock(nn.Module):
    """Local block of the first two stages on [T, B, C, H, W]; the residual stream x is real-valued."""

    def __init__(self, dim: int, mlp_ratio: float, neuron: Neuron):
        super().__init__()
        hidden_dim = int(dim * mlp_ratio)
        self.Conv = SepConv(dim, neuron)
        self.lif1 = neuron()
        self.conv1 = nn.Conv2d(dim, hidden_dim, 3, padding=1, bias=False)
        self.bn1 = shared_norm(hidden_dim)
        self.lif2 = neuron()
        self.conv2 = nn.Conv2d(hidden_dim, dim, 3, padding=1, bias=False)
        self.bn2 = shared_norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.Conv(x)
        hidden = self.lif2(per_step(self.conv1, self.lif1(x)), norm=self.bn1)
        return x + self.bn2(per_step(self.conv2, hidden))


class SpikingAttention(nn.Module):
    """Softmax-free attention of spikes, q (k^T v) * 0.125 per frame and head; its neuron has half the threshold."""

    def __init__(self, dim: int, num_heads: int, neuron: Neuron):
        super().__init__()
        self.num_heads = num_heads
        self.head_lif = neuron()
        for name in "qkv":
            setattr(self, f"{name}_conv", nn.Sequential(RepConv(dim), shared_norm(dim)))
            setattr(self, f"{name}_lif", neuron())
        self.attn_lif = neuron()
        self.attn_lif.v_threshold *= 0.5
        self.proj_conv = nn.Sequential(RepConv(dim), shared_norm(dim))

    def forward(self, x: Tensor) -> Tensor:
        height_width = x.shape[-2:]
        x = self.head_lif(x)
        q = self.split(self.q_conv, self.q_lif, x)
        k = self.split(self.k_conv, self.k_lif, x)
        v = self.split(self.v_conv, self.v_lif, x)
        x = q @ (k.transpose(-2, -1) @ v) * ATTENTION_SCALE
        x = x.transpose(-2, -1).flatten(2, 3).unflatten(3, height_width)  # [T, B, heads, N, d] -> [T, B, C, H, W]
        conv, norm = self.proj_conv
        return norm(per_step(conv, self.attn_lif(x)))

    def split(self, conv_norm: nn.Sequential, lif: nn.Module, x: Tensor) -> Tensor:
        """Spikes of one of q, k, v: [T, B, C, H, W] -> [T, B, heads, N, d]."""
        conv, norm = conv_norm
        return lif(per_step(conv, x), norm=norm).flatten(3).unflatten(2, (self.num_heads, -1)).transpose(-2, -1)


class MLP(nn.Module):
    """Two rounds of neuron, 1x1 convolution, norm on [T, B, C, H, W]."""

    def __init__(self, dim: int, hidden_dim: int, neuron: Neuron):
        super().__init__()
        self.fc1_lif, self.fc1_conv, self.fc1_bn = neuron(), nn.Conv1d(dim, hidden_dim, 1), shared_norm(hidden_dim)
        self.fc2_lif, self.fc2_conv, self.fc2_bn = neuron(), nn.Conv1d(hidden_dim, dim, 1), shared_norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        height_width = x.shape[-2:]
        x = per_step(self.fc1_conv, self.fc1_lif(x).flatten(3))
        x = per_step(self.fc2_conv, self.fc2_lif(x, norm=self.fc1_bn))
        return self.fc2_bn(x).unflatten(3, height_width)


class AttentionBlock(nn.Module):
    """Global block of the last two stages on [T, B, C, H, W]."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, neuron: Neuron):
        super().__init__()
        self.attn = SpikingAttention(dim, num_heads, neuron)
        self.mlp = MLP(dim, int(dim * mlp_ratio), neuron)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


@MODEL_REGISTRY.register()
class MetaSpikeFormer(nn.Module):
    """Clips [B, C, T, H, W], any T and size -> logits [B, K]; sections SNN and METASPIKFORMER.

    A clip of one frame is shown for METASPIKFORMER.TIME_STEPS. With METASPIKFORMER.KD training gives the logits of
    both classifiers, evaluation their mean.
    """

    layouts = (METASPIKFORMER,)
    heads = ("head.*", "head_kd.*")

    def __init__(self, cfg):
        super().__init__()
        dims, num_heads = cfg.METASPIKFORMER.EMBED_DIM, cfg.METASPIKFORMER.NUM_HEADS
        mlp_ratio = cfg.METASPIKFORMER.MLP_RATIO
        check_geometry(cfg)
        neuron = build_neuron(cfg)
        checkpoints = cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4
        self.time_steps = cfg.METASPIKFORMER.TIME_STEPS
        self.pretrained = cfg.METASPIKFORMER.PRETRAIN_NAME

        def conv_block(dim: int, num_checkpointed: int) -> Stage:
            return Stage([ConvBlock(dim, mlp_ratio, neuron)], num_checkpointed)

        def attention_blocks(dim: int, depth: int, num_checkpointed: int) -> Stage:
            return Stage([AttentionBlock(dim, num_heads, mlp_ratio, neuron) for _ in range(depth)], num_checkpointed)

        self.downsample1_1 = Downsampling(cfg.DATA.INPUT_CHANNEL_NUM[0], dims[0] // 2, 7, 2, None)
        self.ConvBlock1_1 = conv_block(dims[0] // 2, checkpoints[0])
        self.downsample1_2 = Downsampling(dims[0] // 2, dims[0], 3, 2, neuron)
        self.ConvBlock1_2 = conv_block(dims[0], checkpoints[0] - 1)
        self.downsample2 = Downsampling(dims[0], dims[1], 3, 2, neuron)
        self.ConvBlock2_1 = conv_block(dims[1], checkpoints[1])
        self.ConvBlock2_2 = conv_block(dims[1], checkpoints[1] - 1)
        self.downsample3 = Downsampling(dims[1], dims[2], 3, 2, neuron)
        self.block3 = attention_blocks(dims[2], 6, checkpoints[2])
        self.downsample4 = Downsampling(dims[2], dims[3], 3, 1, neuron)
        self.block4 = attention_blocks(dims[3], 2, checkpoints[3])
        self.lif = neuron()
        self.head = nn.Linear(dims[3], cfg.MODEL.NUM_CLASSES)
        self.head_kd = nn.Linear(dims[3], cfg.MODEL.NUM_CLASSES) if cfg.METASPIKFORMER.KD else None
        self.apply(init_linear)

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        x = clips.permute(2, 0, 1, 3, 4)  # [B, C, T, H, W] -> [T, B, C, H, W]
        if len(x) == 1:
            x = x.expand(self.time_steps, -1, -1, -1, -1)
        x = self.ConvBlock1_1(self.downsample1_1(x))
        x = self.ConvBlock1_2(self.downsample1_2(x))
        x = self.ConvBlock2_2(self.ConvBlock2_1(self.downsample2(x)))
        x = self.block3(self.downsample3(x))
        x = self.block4(self.downsample4(x))
        x = self.lif(x.mean((3, 4)))  # [T, B, C]
        logits = self.head(x).mean(0)
        if self.head_kd is None:
            return logits
        distilled = self.head_kd(x).mean(0)
        return (logits, distilled) if self.training else (logits + distilled) / 2

    def fold(self) -> "MetaSpikeFormer":
        """Makes every RepConv one 3x3 convolution of spikes, for inference; returns the model, changed.

        The outputs stay, the names of parameters do not. Every product is then one with a spike, for hardware on which
        that is an addition; dense arithmetic pays 9 C^2 products a pixel instead of 2 C^2. The norm behind a RepConv
        stays, since the neuron computes it.

        Raises:
            RuntimeError: in training mode, whose norms no convolution can stand for.
        """
        if self.training:
            raise RuntimeError("A folded model is for inference. Call eval() before fold().")
        fold_rep_convs(self)
        return self


def check_geometry(cfg) -> None:
    """Refuses widths that do not split, and steps that the clip's frames contradict."""
    section = cfg.METASPIKFORMER
    if section.EMBED_DIM[0] % 2:
        raise ValueError(f"METASPIKFORMER.EMBED_DIM {section.EMBED_DIM}: the first is halved. Set an even number.")
    refuse_remainder("METASPIKFORMER.NUM_HEADS", section.NUM_HEADS, "METASPIKFORMER.EMBED_DIM", section.EMBED_DIM[2:])
    if section.TIME_STEPS > 1 and cfg.DATA.NUM_FRAMES not in (1, section.TIME_STEPS):
        raise ValueError(
            f"METASPIKFORMER.TIME_STEPS {section.TIME_STEPS} is for images, and DATA.NUM_FRAMES is "
            f"{cfg.DATA.NUM_FRAMES}. Set DATA.NUM_FRAMES 1, or METASPIKFORMER.TIME_STEPS 1: frames are time steps."
        )


@rule
def distillation_has_a_teacher(cfg: CfgNode) -> None:
    if cfg.METASPIKFORMER.KD and cfg.TRAIN.ENABLE and preset_model(cfg.MODEL.MODEL_NAME) == "MetaSpikeFormer":
        raise ConfigError(
            "METASPIKFORMER.KD adds a classifier that a teacher trains, and there is no teacher here. Set "
            "METASPIKFORMER.KD False to train one classifier, or TRAIN.ENABLE False to test distilled weights."
        )


PUBLISHED = {
    "SNN.NEURON": "LIF",
    "SNN.TAU": 2.0,
    "SNN.V_THRESHOLD": 1.0,
    "SNN.SURROGATE": "sigmoid",
    "SNN.SURROGATE_ALPHA": 4.0,
    "METASPIKFORMER.TIME_STEPS": 1,  # the same weights are then fine-tuned to four steps, with a teacher
    "METASPIKFORMER.KD": False,
}

add_preset("MetaSpikeFormer", "MetaSpikeFormer", **PUBLISHED)
add_preset("Metaspikformer", "MetaSpikeFormer", arch="metaspikformer", **PUBLISHED)  # upstream's name on video
for size, embed_dim in {
    "15M": [64, 128, 256, 360],
    "31M": [96, 192, 384, 480],
    "55M": [128, 256, 512, 640],
}.items():
    add_preset(f"MetaSpikeFormer_{size}", "MetaSpikeFormer", **(PUBLISHED | {"METASPIKFORMER.EMBED_DIM": embed_dim}))
