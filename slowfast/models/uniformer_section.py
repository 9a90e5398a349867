"""The config section UNIFORMER, which UniFormer and SVFormer, grown from it, share."""

from slowfast.config import Key, add_section
from slowfast.config.valid import RATE, RATIO, TEXT, choice, listed, number, whole
from slowfast.models.layers import refuse_remainder

add_section(
    "UNIFORMER",
    {
        "EMBED_DIM": Key([64, 128, 320, 512], "Channels of the four stages.", valid=listed(whole(1), 4)),
        "DEPTH": Key([3, 4, 8, 3], "Blocks of the four stages.", valid=listed(whole(0), 4)),
        "HEAD_DIM": Key(
            64, "Channels of an attention head; each attention stage has EMBED_DIM / HEAD_DIM heads.", valid=whole(1)
        ),
        "MLP_RATIO": Key(4, "Hidden over outer channels in the MLPs.", valid=RATIO),
        "QKV_BIAS": Key(True, "UniFormer: bias of the map to queries, keys and values (SVFormer always has one)."),
        "QKV_SCALE": Key(None, "Factor on the attention product. None or 0: HEAD_DIM ** -0.5.", valid=number(0)),
        "DROPOUT_RATE": Key(
            0, "Dropout after the first patch embedding, in UniFormer also in the MLPs and after attention.", valid=RATE
        ),
        "ATTENTION_DROPOUT_RATE": Key(0, "UniFormer: dropout of the attention weights.", valid=RATE),
        "DROP_DEPTH_RATE": Key(
            0.1, "Stochastic depth of the last block; rises linearly from 0 at the first.", valid=RATE
        ),
        "SPLIT": Key(False, "UniFormer: attend over time, then over each frame, instead of over both at once."),
        "STD": Key(False, "UniFormer: patch embeddings 2 to 4 overlap by three frames in time."),
        "PRETRAIN_NAME": Key(
            None,
            "UniFormer: image weights to start training from, a path or a name for $CKPT_ROOT/NAME.pth. None: none.",
            valid=TEXT,
        ),
        "TIME_NORM": Key(
            "per_step",
            "SVFormer: norm statistics per_step (T fixed by the checkpoint) or shared over time.",
            valid=choice("per_step", "shared"),
        ),
        "ATTENTION": Key(
            "qkv",
            "SVFormer's spiking attention: qkv (its own) or qk_token (QKFormer's token attention).",
            valid=choice("qkv", "qk_token"),
        ),
        "LOCAL_GLOBAL_FUSION": Key(
            True, "SVFormer: join the local path from stage 3 to the global one before the head."
        ),
        "TIME_HEAD": Key(
            "conv",
            "How SVFormer's head consumes time and space: conv (learnt, T and size fixed) or mean.",
            valid=choice("conv", "mean"),
        ),
    },
)


def check_head_dim(cfg) -> None:
    """Refuses attention stages that cannot be split into heads."""
    dims = cfg.UNIFORMER.EMBED_DIM[2:]
    refuse_remainder("UNIFORMER.HEAD_DIM", cfg.UNIFORMER.HEAD_DIM, "UNIFORMER.EMBED_DIM", dims)


def qkv_scale(cfg) -> float:
    """The factor on the attention product; upstream takes 0 for a factor that is not set."""
    return cfg.UNIFORMER.QKV_SCALE or cfg.UNIFORMER.HEAD_DIM**-0.5
