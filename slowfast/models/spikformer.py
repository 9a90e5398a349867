"""Spikformer on video: SpikingJelly's spiking vision transformer (Zhou et al. 2023, arXiv 2209.15425).

The clip's frames are its time steps; the logits are averaged over them, as the paper does over repeated images.
"""

from torch import Tensor, nn

from slowfast.config import Key, add_preset, add_section
from slowfast.config.valid import RATIO, choice, whole
from slowfast.models.build import MODEL_REGISTRY
from slowfast.models.layers import Stage, refuse_remainder
from slowfast.spiking import BatchNorm, build_neuron

add_section(
    "SPIKFORMER",
    {
        "EMBED_DIM": Key(384, "Channels of the tokens; a multiple of 8 and of NUM_HEADS.", valid=whole(1)),
        "DEPTH": Key(8, "Blocks.", valid=whole(1)),
        "NUM_HEADS": Key(12, "Attention heads.", valid=whole(1)),
        "MLP_RATIO": Key(4, "Hidden over outer channels in the MLPs.", valid=RATIO),
        "PATCH_SIZE": Key(16, "Side of a token.", "pixels", valid=choice(4, 16)),
    },
)

PUBLISHED = {
    "SNN.NEURON": "LIF",
    "SNN.TAU": 2.0,
    "SNN.V_THRESHOLD": 1.0,
    "SNN.SURROGATE": "sigmoid",
    "SNN.SURROGATE_ALPHA": 4.0,
}
add_preset("Spikformer", "Spikformer", **PUBLISHED)


@MODEL_REGISTRY.register()
class Spikformer(nn.Module):
    """Clips [B, C, T, H, W] -> logits [B, K]; sections SNN and SPIKFORMER, any T and size."""

    def __init__(self, cfg):
        super().__init__()
        from spikingjelly.activation_based.model import spikformer

        heads, dims = cfg.SPIKFORMER.NUM_HEADS, [cfg.SPIKFORMER.EMBED_DIM]
        refuse_remainder("SPIKFORMER.NUM_HEADS", heads, "SPIKFORMER.EMBED_DIM", dims)
        if dims[0] % 8:
            raise ValueError(f"SPIKFORMER.EMBED_DIM {dims[0]} is halved three times. Set a multiple of 8.")
        neuron = build_neuron(cfg)
        net = spikformer.Spikformer(
            T=cfg.DATA.NUM_FRAMES,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            img_size_h=cfg.DATA.TRAIN_CROP_SIZE,
            img_size_w=cfg.DATA.TRAIN_CROP_SIZE,
            patch_size=cfg.SPIKFORMER.PATCH_SIZE,
            num_classes=cfg.MODEL.NUM_CLASSES,
            embed_dims=cfg.SPIKFORMER.EMBED_DIM,
            num_heads=heads,
            mlp_ratio=cfg.SPIKFORMER.MLP_RATIO,
            depths=cfg.SPIKFORMER.DEPTH,
            spiking_neuron=lambda **_: neuron(),  # all of them run over whole sequences
        )
        for block in net.blocks:
            block.attn.attn_lif.v_threshold *= 0.5  # as published: the attention's product fires at half the threshold
        use_own_norms(net)
        checkpoints = cfg.MODEL.CHECKPOINT_NUM[0] if cfg.MODEL.USE_CHECKPOINT else 0
        self.patch_embed, self.blocks, self.head = net.patch_embed, Stage(net.blocks, checkpoints), net.head

    def forward(self, clips: Tensor | list[Tensor]) -> Tensor:
        (clips,) = clips if isinstance(clips, list | tuple) else (clips,)
        x = self.blocks(self.patch_embed(clips.permute(2, 0, 1, 3, 4)))  # [T, B, C, h, w]
        return self.head(x.mean((3, 4))).mean(0)  # [B, K]


def use_own_norms(module: nn.Module) -> None:
    """Replaces torch's batch norms by ours, which can share statistics over processes on the CPU too."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, BatchNorm(child.num_features, child.eps, child.momentum))
        else:
            use_own_norms(child)
