"""C2D and Slow: ResNets of torchvision on clips, the non-spiking baselines.

C2D (Wang et al. 2018, arXiv 1711.07971) sees one frame at a time and pools pairs of frames after its first stage;
Slow is the slow pathway of SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982): its last two stages start every
block with a convolution over three frames. Both average over time and space before the classifier.
"""

from torch import Tensor, nn

from slowfast.config import Key, add_preset, add_section
from slowfast.config.valid import TEXT, choice, listed, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import Stage
from slowfast.models.layouts import SLOWFAST_RESNET, TORCHVISION_RESNET
from slowfast.spiking import BatchNorm

# Upstream's defaults; a config that has them has, most likely, not thought of them.
TRANS_FUNC, NUM_BLOCK_TEMP_KERNEL = "bottleneck_transform", [[3], [4], [6], [3]]

add_section(
    "RESNET",
    {
        "DEPTH": Key(50, "Layers.", valid=choice(18, 34, 50, 101, 152)),
        "WIDTH_PER_GROUP": Key(
            64, "Channels of the first stage's inner convolutions (50 layers and more).", valid=whole(1)
        ),
        "ZERO_INIT_FINAL_BN": Key(False, "Start every block as the identity."),
        "TEMPORAL_KERNELS": Key(
            None,
            "Frames the first convolution of a block sees, for each stage. None: as MODEL.ARCH (c2d, slow).",
            valid=listed(whole(1), 4),
        ),
        "TRANS_FUNC": Key(
            TRANS_FUNC, "Block. The one of DEPTH is built, and another that is set here is refused.", valid=TEXT
        ),
        "NUM_BLOCK_TEMP_KERNEL": Key(
            NUM_BLOCK_TEMP_KERNEL,
            "Blocks of each stage that see TEMPORAL_KERNELS frames: all of them, and another number is refused.",
            valid=listed(listed(whole(1), 1), 4),
        ),
        "TEMPORAL_POOL": Key(None, "Frames pooled after the first stage. None: as MODEL.ARCH.", valid=whole(1)),
    },
)

ARCHITECTURES = {
    "c2d": {"RESNET.TEMPORAL_KERNELS": [1, 1, 1, 1], "RESNET.TEMPORAL_POOL": 2},
    "slow": {"RESNET.TEMPORAL_KERNELS": [1, 1, 3, 3], "RESNET.TEMPORAL_POOL": 1},
}
add_preset("C2D", "ResNet", arch="c2d", **ARCHITECTURES["c2d"])
add_preset("Slow", "ResNet", arch="slow", **ARCHITECTURES["slow"])


@MODEL_REGISTRY.register()
class ResNet(nn.Module):
    """Clips [B, C, T, H, W] -> logits [B, K]; section RESNET. Names of tensors are torchvision's."""

    layouts = (SLOWFAST_RESNET, TORCHVISION_RESNET)
    heads = ("fc.*",)

    def __init__(self, cfg):
        super().__init__()
        kernels, pool = temporal_design(cfg)
        net = image_resnet(
            cfg.RESNET.DEPTH,
            width_per_group=cfg.RESNET.WIDTH_PER_GROUP,
            zero_init_residual=cfg.RESNET.ZERO_INIT_FINAL_BN,
        )
        refuse_other_blocks(cfg, net)
        net = over_frames(net, kernels)
        self.conv1 = frame_conv(nn.Conv2d(cfg.DATA.INPUT_CHANNEL_NUM[0], 64, 7, stride=2, padding=3), frames=1)
        self.bn1, self.relu, self.maxpool = net.bn1, net.relu, net.maxpool
        checkpoints = cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4
        for stage, num_checkpointed in enumerate(checkpoints, start=1):
            setattr(self, f"layer{stage}", Stage(getattr(net, f"layer{stage}"), num_checkpointed))
        self.pool = nn.MaxPool3d((pool, 1, 1), ceil_mode=True)
        self.dropout = nn.Dropout(cfg.MODEL.DROPOUT_RATE)
        self.fc = nn.Linear(net.fc.in_features, cfg.MODEL.NUM_CLASSES)
        nn.init.normal_(self.fc.weight, std=cfg.MODEL.FC_INIT_STD)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        x = self.maxpool(self.relu(self.bn1(self.conv1(clips))))
        x = self.pool(self.layer1(x))
        x = self.layer4(self.layer3(self.layer2(x)))
        return self.fc(self.dropout(x.mean((2, 3, 4))))


def temporal_design(cfg) -> tuple[list[int], int]:
    """What the keys, the preset or upstream's MODEL.ARCH say of time: frames of each stage's kernels, frames pooled."""
    by_arch = ARCHITECTURES.get(cfg.MODEL.ARCH.lower(), {})
    kernels = cfg.RESNET.TEMPORAL_KERNELS or by_arch.get("RESNET.TEMPORAL_KERNELS")
    pool = cfg.RESNET.TEMPORAL_POOL or by_arch.get("RESNET.TEMPORAL_POOL")
    if not kernels or not pool:
        raise ValueError(
            "A ResNet on clips is C2D or Slow. Set MODEL.MODEL_NAME to one of them, or MODEL.ARCH c2d or slow."
        )
    return kernels, pool


def refuse_other_blocks(cfg, net: nn.Module) -> None:
    """Refuses configs that ask for other blocks, or other ones over time, than the net of their DEPTH has.

    Raises:
        ValueError: so.
    """
    stages = (net.layer1, net.layer2, net.layer3, net.layer4)
    block, blocks = "bottleneck_transform" if cfg.RESNET.DEPTH >= 50 else "basic_transform", [[len(s)] for s in stages]
    for key, asked, default, built in (
        ("RESNET.TRANS_FUNC", cfg.RESNET.TRANS_FUNC, TRANS_FUNC, block),
        ("RESNET.NUM_BLOCK_TEMP_KERNEL", cfg.RESNET.NUM_BLOCK_TEMP_KERNEL, NUM_BLOCK_TEMP_KERNEL, blocks),
    ):
        if asked not in (default, built):
            raise ValueError(
                f"{key} {asked!r} is not built with RESNET.DEPTH {cfg.RESNET.DEPTH}. Remove the key, or set {built!r}."
            )


def image_resnet(depth: int, **options) -> nn.Module:
    """torchvision's ResNet of that depth, untrained, with norms that know synchronisation and recomputation."""
    from torchvision.models import resnet  # not needed to import this package

    return getattr(resnet, f"resnet{depth}")(weights=None, norm_layer=BatchNorm, **options)


def over_frames(net: nn.Module, kernels: list[int]) -> nn.Module:
    """An image ResNet on [B, C, T, H, W]: a stage's blocks start with a convolution over `kernels[stage]` frames."""
    for name, child in list(net.named_modules()):
        parent, _, attribute = name.rpartition(".")
        if isinstance(child, nn.Conv2d):
            starts_block = name.startswith("layer") and attribute == "conv1"
            frames = kernels[int(name[len("layer")]) - 1] if starts_block else 1
            setattr(net.get_submodule(parent), attribute, frame_conv(child, frames))
        elif isinstance(child, nn.MaxPool2d):
            sizes = ((1, child.kernel_size, child.kernel_size), (1, child.stride, child.stride))
            setattr(net.get_submodule(parent), attribute, nn.MaxPool3d(*sizes, (0, child.padding, child.padding)))
    return net


def frame_conv(conv: nn.Conv2d, frames: int) -> nn.Conv3d:
    """A fresh convolution like `conv` over `frames` frames, without bias; initialised as He et al. 2015."""
    conv3d = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (frames, *conv.kernel_size),
        stride=(1, *conv.stride),
        padding=(frames // 2, *conv.padding),
        groups=conv.groups,
        bias=False,
    )
    nn.init.kaiming_normal_(conv3d.weight, mode="fan_out", nonlinearity="relu")
    return conv3d
