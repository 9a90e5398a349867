"""SEW-ResNet on video: SpikingJelly's spike-element-wise ResNet (Fang et al. 2021, arXiv 2102.04159).

The clip's frames are its time steps; the logits are averaged over them, as the paper does over repeated images.
"""

from functools import partial

from torch import Tensor, nn

from slowfast.config import Key, add_preset, add_section
from slowfast.config.valid import choice, listed, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import Stage
from slowfast.spiking import SharedBatchNorm, build_neuron

add_section(
    "SEWRESNET",
    {
        "LAYERS": Key([3, 4, 23, 3], "Blocks of the four stages.", valid=listed(whole(1), 4)),
        "BLOCK": Key(
            "bottleneck", "Kind of block: basic (18 and 34 layers) or bottleneck.", valid=choice("basic", "bottleneck")
        ),
        "CNF": Key(
            "ADD",
            "How a block joins its branch's spikes to its input: ADD, AND or IAND.",
            valid=choice("ADD", "AND", "IAND"),
        ),
    },
)

# Section 5 of the paper: integrate-and-fire neurons, ATan surrogate, no gradient through the reset.
PUBLISHED = {
    "SNN.NEURON": "IF",
    "SNN.TAU": 2.0,  # not used by IF
    "SNN.V_THRESHOLD": 1.0,
    "SNN.SURROGATE": "atan",
    "SNN.SURROGATE_ALPHA": 2.0,
}
add_preset("SEWResNet", "SEWResNet", arch="sew_resnet", **PUBLISHED)


@MODEL_REGISTRY.register()
class SEWResNet(nn.Module):
    """Clips [B, 3, T, H, W] -> logits [B, K]; sections SNN and SEWRESNET, any T and size."""

    def __init__(self, cfg):
        super().__init__()
        from spikingjelly.activation_based import functional
        from spikingjelly.activation_based.model import sew_resnet  # imports torchvision

        blocks = {"basic": sew_resnet.BasicBlock, "bottleneck": sew_resnet.Bottleneck}
        neuron = build_neuron(cfg)
        self.net = sew_resnet.SEWResNet(
            blocks[cfg.SEWRESNET.BLOCK],
            cfg.SEWRESNET.LAYERS,
            num_classes=cfg.MODEL.NUM_CLASSES,
            cnf=cfg.SEWRESNET.CNF,
            norm_layer=partial(SharedBatchNorm, time_steps=cfg.DATA.NUM_FRAMES),
            spiking_neuron=neuron,
        )
        functional.set_step_mode(self.net, "m")
        checkpoints = cfg.MODEL.CHECKPOINT_NUM if cfg.MODEL.USE_CHECKPOINT else [0] * 4
        for stage, num_checkpointed in enumerate(checkpoints, start=1):
            setattr(self.net, f"layer{stage}", Stage(getattr(self.net, f"layer{stage}"), num_checkpointed))

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        return self.net(clips.permute(2, 0, 1, 3, 4)).mean(0)  # [T, B, K] -> [B, K]
