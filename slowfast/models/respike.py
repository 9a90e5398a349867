"""ReSpike: an image network on key frames, a spiking one on what moves between (Xiao et al. 2024, arXiv 2409.01564).

The first frame of every group of RESPIKE.KEY_FRAME_STRIDE is a key frame and goes through a ResNet; the others, less
their key frame, are the time steps of a spiking ResNet whose stages attend to the key frame's features. The spiking
branch runs all its steps at once: nothing but the neurons carries a state over time, and its norms keep the statistics
of a step-by-step run. Names of parameters and buffers are upstream's.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.config import Key, add_preset, add_section
from slowfast.config.valid import RATE, TEXT, choice, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.cross_fusion import SpatialTransformer
from slowfast.models.layers import Stage
from slowfast.models.layouts import TORCHVISION_RESNET, Layout
from slowfast.models.resnet import image_resnet
from slowfast.spiking import StepBatchNorm, build_neuron, checkpointed, per_step

add_section(
    "RESPIKE",
    {
        "BACKBONE": Key(
            "resnet18", "Network of the key frames: resnet18 or resnet50.", valid=choice("resnet18", "resnet50")
        ),
        "KEY_FRAME_STRIDE": Key(
            4,
            "Frames of a group: a key frame and the residual frames behind it. Divides DATA.NUM_FRAMES.",
            "frames",
            valid=whole(2),
        ),
        "WIDTH_MULT": Key(
            4, "Width of the spiking branch: its first stage has 16 times as many channels. Even.", valid=whole(2)
        ),
        "DOWNSAMPLE": Key(
            False,
            "Fuse after stage 1 too, at 1/4 of its resolution, and after stage 2 at 1/2; else after stages 2, 3 and 4 "
            "at their own.",
        ),
        "TRANSFORMER_DEPTH": Key(1, "Transformer blocks of a fusion.", valid=whole(1)),
        "DIM_HEAD": Key(32, "Channels of an attention head.", valid=whole(1)),
        "DROPOUT": Key(0.0, "Dropout in the fusions.", valid=RATE),
        "PER_KEY_FRAME_LOGITS": Key(False, "Return logits [B, key frames, K] instead of their mean [B, K]."),
        "PRETRAINED": Key(
            "",
            "torchvision ResNet weights for the key frames' network to start training from, a path or a name for "
            "$CKPT_ROOT/NAME.pth; empty: none.",
            valid=TEXT,
        ),
    },
)

DEPTHS = {"resnet18": 18, "resnet50": 50}
STAGES = (1, 2, 3, 4)
BLOCKS = 2  # of a spiking stage
POOLS = {1: 4, 2: 2, 3: 1, 4: 1}  # side of the pooling in front of each stage's fusion, with DOWNSAMPLE

RESPIKE = Layout("ReSpike", has=("ann_layer0.0.weight", "snn_backbone.conv1.weight"))
KEY_FRAMES = replace(
    TORCHVISION_RESNET,
    names=(("conv1.", "ann_layer0.0."), ("bn1.", "ann_layer0.1."), ("layer{}.", "ann_layer{}.")),
    drops=("fc.*",),
    fresh=("snn_backbone.*",),
)


class BasicBlock(nn.Module):
    """Two rounds of neuron, 3 x 3 convolution, norm, and a shortcut, on real-valued [T, B, C, H, W]."""

    def __init__(self, in_dim: int, dim: int, stride: int, neuron):
        super().__init__()
        self.lif1, self.lif2 = neuron(), neuron()
        self.conv1 = nn.Conv2d(in_dim, dim, 3, stride, padding=1, bias=False)
        self.bn1 = StepBatchNorm(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.bn2 = StepBatchNorm(dim)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_dim != dim:
            conv = nn.Conv2d(in_dim, dim, 1, bias=False)
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), conv, StepBatchNorm(dim))

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif2(per_step(self.conv1, self.lif1(x)), norm=self.bn1)
        out = self.bn2(per_step(self.conv2, spikes))
        if not self.shortcut:
            return out + x
        pool, conv, norm = self.shortcut
        return out + norm(per_step(conv, per_step(pool, x)))


class SpikingResNet(nn.Module):
    """Residual frames [T, B, C, H, W] and a feature map of each stage of their key frame -> [T, B, D, H/32, W/32]."""

    def __init__(self, cfg, context_dims: list[int]):
        super().__init__()
        neuron = build_neuron(cfg)
        dims = [16 * cfg.RESPIKE.WIDTH_MULT * 2**i for i in range(4)]
        checkpoints = checkpointed_blocks(cfg)
        self.out_channels = dims[-1]
        self.conv1 = nn.Conv2d(cfg.DATA.INPUT_CHANNEL_NUM[0], dims[0], 3, stride=2, padding=1, bias=False)
        self.bn1 = StepBatchNorm(dims[0])
        for stage, in_dim, dim, num_checkpointed in zip(STAGES, dims[:1] + dims, dims, checkpoints, strict=False):
            blocks = [BasicBlock(in_dim, dim, 2, neuron)]
            blocks += [BasicBlock(dim, dim, 1, neuron) for _ in range(BLOCKS - 1)]
            setattr(self, f"layer{stage}", Stage(blocks, num_checkpointed))
        for stage, dim, context_dim in zip(STAGES, dims, context_dims, strict=True):
            fusion = SpatialTransformer(
                dim,
                context_dim,
                depth=cfg.RESPIKE.TRANSFORMER_DEPTH,
                dim_head=cfg.RESPIKE.DIM_HEAD,
                dropout=cfg.RESPIKE.DROPOUT,
            )
            setattr(self, f"fusion{stage}", fusion)
        self.pools = POOLS if cfg.RESPIKE.DOWNSAMPLE else dict.fromkeys(STAGES[1:], 1)
        # The last block of a stage, where it is one.
        self.recomputes = {stage: checkpoints[stage - 1] > BLOCKS for stage in self.pools}
        if 1 not in self.pools:
            self.fusion1.requires_grad_(False)  # a part of upstream's checkpoints that nothing uses

    def forward(self, x: Tensor, contexts: list[Tensor]) -> Tensor:
        x = self.bn1(per_step(self.conv1, x))
        for stage, context in zip(STAGES, contexts, strict=True):
            x = getattr(self, f"layer{stage}")(x)
            if stage in self.pools:
                x = self.fuse(stage, x, context)
        return x

    def fuse(self, stage: int, x: Tensor, context: Tensor) -> Tensor:
        """The stage's fusion, at a fraction of the resolution where it has a pool."""
        pool = self.pools[stage]
        if pool > 1:
            x = per_step(partial(F.avg_pool2d, kernel_size=pool), x)
            context = F.avg_pool2d(context, pool)
        fusion = partial(getattr(self, f"fusion{stage}"), context=context)
        x = checkpointed(fusion, x) if self.training and self.recomputes[stage] else fusion(x)
        if pool > 1:
            x = per_step(partial(F.interpolate, scale_factor=pool, mode="bilinear", align_corners=False), x)
        return x


@MODEL_REGISTRY.register()
class ReSpike(nn.Module):
    """Clips [B, C, T, H, W], H and W multiples of 32 -> logits [B, K]; sections SNN and RESPIKE.

    T is any multiple of RESPIKE.KEY_FRAME_STRIDE.
    """

    layouts = (RESPIKE, KEY_FRAMES)
    heads = ("fc.*",)

    def __init__(self, cfg):
        super().__init__()
        self.stride = cfg.RESPIKE.KEY_FRAME_STRIDE
        self.per_key_frame = cfg.RESPIKE.PER_KEY_FRAME_LOGITS
        self.pretrained = cfg.RESPIKE.PRETRAINED
        check_widths(cfg)
        check_clip(cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, self.stride)
        net = image_resnet(DEPTHS[cfg.RESPIKE.BACKBONE])
        stem = nn.Conv2d(cfg.DATA.INPUT_CHANNEL_NUM[0], 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        self.ann_layer0 = nn.Sequential(stem, net.bn1, net.relu, net.maxpool)
        for stage, num_checkpointed in zip(STAGES, checkpointed_blocks(cfg), strict=True):
            setattr(self, f"ann_layer{stage}", Stage(getattr(net, f"layer{stage}"), num_checkpointed))
        width = net.fc.in_features
        self.snn_backbone = SpikingResNet(cfg, [width // 8, width // 4, width // 2, width])
        self.fc = nn.Linear(width + self.snn_backbone.out_channels, cfg.MODEL.NUM_CLASSES)

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        check_clip(clips.shape[2], clips.shape[-1], self.stride)
        groups = clips.transpose(1, 2).unflatten(1, (-1, self.stride)).flatten(0, 1)  # [B T/s, s, C, H, W]
        key_frames = groups[:, 0]
        residuals = (groups[:, 1:] - groups[:, :1]).transpose(0, 1)  # [s - 1, B T/s, C, H, W]
        features = self.key_frame_features(key_frames)
        moving = self.snn_backbone(residuals, features).mean(0)
        x = F.adaptive_avg_pool2d(torch.cat([features[-1], moving], dim=1), 1).flatten(1)
        logits = self.fc(x).unflatten(0, (len(clips), -1))  # [B, T/s, K]
        return logits if self.per_key_frame else logits.mean(1)

    def key_frame_features(self, key_frames: Tensor) -> list[Tensor]:
        """Frames [N, C, H, W] -> maps of the four stages, at 1/4, 1/8, 1/16 and 1/32 of the size."""
        x, features = self.ann_layer0(key_frames), []
        for stage in STAGES:
            x = getattr(self, f"ann_layer{stage}")(x)
            features.append(x)
        return features


def checkpointed_blocks(cfg) -> list[int]:
    """Blocks of each stage that keep only their input for backward; a stage's fusion counts as its last."""
    return cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4


def check_widths(cfg) -> None:
    """Refuses widths that do not divide into the group norms' 32 groups and the attention's heads."""
    width, dim_head = cfg.RESPIKE.WIDTH_MULT, cfg.RESPIKE.DIM_HEAD
    if width < 2 or width % 2:
        raise ValueError(f"RESPIKE.WIDTH_MULT {width} is not a positive even number. Set 4, which is published.")
    if dim_head < 1 or (16 * width) % dim_head:
        raise ValueError(
            f"RESPIKE.DIM_HEAD {dim_head} does not divide the {16 * width} channels of the first stage. Set 32."
        )


def check_clip(num_frames: int, size: int, stride: int) -> None:
    """Refuses clips that the groups and the stages cannot divide."""
    if stride < 2:
        raise ValueError(f"RESPIKE.KEY_FRAME_STRIDE {stride} leaves no frame for the spiking branch. Set 2 or more.")
    if num_frames % stride:
        raise ValueError(
            f"A clip of {num_frames} frames has no whole number of groups. Set DATA.NUM_FRAMES to a multiple of "
            f"RESPIKE.KEY_FRAME_STRIDE {stride}, or the stride to a divisor."
        )
    if size % 32:
        raise ValueError(
            f"ReSpike needs frames that 32 divides, and one is {size} wide. Set DATA.TRAIN_CROP_SIZE and "
            f"DATA.TEST_CROP_SIZE to multiples of 32."
        )


# Upstream trains in fp16.
add_preset(
    "ReSpike",
    "ReSpike",
    **{
        "SNN.NEURON": "LIF",
        "SNN.TAU": 4 / 3,
        "SNN.V_THRESHOLD": 1.0,
        "SNN.SURROGATE": "atan",
        "SNN.SURROGATE_ALPHA": 2.0,
        "TRAIN.MIXED_PRECISION": True,
    },
)
