"""The config section UNIFORMER, which UniFormer and SVFormer, grown from it, share."""

from slowfast.config import add_section

add_section(
    "UNIFORMER",
    {
        "EMBED_DIM": ([64, 128, 320, 512], "Channels of the four stages."),
        "DEPTH": ([3, 4, 8, 3], "Blocks of the four stages."),
        "HEAD_DIM": (
            64,
            "Channels of an attention head; each attention stage has EMBED_DIM / HEAD_DIM heads.",
        ),
        "MLP_RATIO": (4, "Hidden over outer channels in the MLPs."),
        "QKV_BIAS": (True, "UniFormer: bias of the map to queries, keys and values (SVFormer always has one)."),
        "QKV_SCALE": (None, "Factor on the attention product. None or 0: HEAD_DIM ** -0.5."),
        "DROPOUT_RATE": (
            0,
            "Dropout after the first patch embedding, in UniFormer also in the MLPs and after attention.",
        ),
        "ATTENTION_DROPOUT_RATE": (0, "UniFormer: dropout of the attention weights."),
        "DROP_DEPTH_RATE": (0.1, "Stochastic depth of the last block; rises linearly from 0 at the first."),
        "SPLIT": (False, "UniFormer: attend over time, then over each frame, instead of over both at once."),
        "STD": (False, "UniFormer: patch embeddings 2 to 4 overlap by three frames in time."),
        "PRETRAIN_NAME": (
            None,
            "UniFormer: image weights to start training from, a path or a name for $CKPT_ROOT/NAME.pth. None: none.",
        ),
        "TIME_NORM": (
            "per_step",
            "SVFormer: norm statistics per_step (T fixed by the checkpoint) or shared over time.",
        ),
        "ATTENTION": ("qkv", "SVFormer's spiking attention: qkv (its own) or qk_token (QKFormer's token attention)."),
        "LOCAL_GLOBAL_FUSION": (True, "SVFormer: join the local path from stage 3 to the global one before the head."),
        "TIME_HEAD": (
            "conv",
            "How SVFormer's head consumes time and space: conv (learnt, T and size fixed) or mean.",
        ),
    },
)


def check_head_dim(cfg) -> None:
    """Refuses attention stages that cannot be split into heads."""
    for dim in cfg.UNIFORMER.EMBED_DIM[2:]:
        if dim % cfg.UNIFORMER.HEAD_DIM:
            raise ValueError(f"UNIFORMER.HEAD_DIM {cfg.UNIFORMER.HEAD_DIM} does not divide UNIFORMER.EMBED_DIM {dim}.")


def qkv_scale(cfg) -> float:
    """The factor on the attention product; upstream takes 0 for a factor that is not set."""
    return cfg.UNIFORMER.QKV_SCALE or cfg.UNIFORMER.HEAD_DIM**-0.5
