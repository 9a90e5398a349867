"""Config options with which each registered model runs in milliseconds; a model that registers gets a line here."""

from slowfast.config import preset_model

COMMON = (
    *("DATA.NUM_FRAMES", 3, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32, "DATA.INPUT_CHANNEL_NUM", [3]),
    *("DATA.TRAIN_JITTER_SCALES", [36, 40]),
)
STAGES = (
    *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 1, 1]),
    *("UNIFORMER.HEAD_DIM", 8, "UNIFORMER.MLP_RATIO", 2, "UNIFORMER.DROP_DEPTH_RATE", 0.0),
)
VIT = (
    *("TIMESFORMER.EMBED_DIM", 16, "TIMESFORMER.DEPTH", 2, "TIMESFORMER.NUM_HEADS", 2, "TIMESFORMER.PATCH_SIZE", 8),
    *("TIMESFORMER.DROP_PATH_RATE", 0.0),
)
META = (
    *("METASPIKFORMER.EMBED_DIM", [8, 8, 16, 16], "METASPIKFORMER.NUM_HEADS", 2, "METASPIKFORMER.MLP_RATIO", 2),
    *("SNN.V_THRESHOLD", 0.2),
)
TINY = {
    "SVFormer": (*STAGES, "SNN.V_THRESHOLD", 0.2),
    "Uniformer": STAGES,
    **dict.fromkeys(("TimeSformer", "TimeSformerMix"), VIT),
    # All three frames are one group; without pooling the first fusion would stay unused.
    "ReSpike": ("RESPIKE.KEY_FRAME_STRIDE", 3, "RESPIKE.DOWNSAMPLE", True, "RESPIKE.WIDTH_MULT", 2),
    "MetaSpikeFormer": META,
    "ResNet": ("RESNET.DEPTH", 18, "MODEL.DROPOUT_RATE", 0.0),
    "SEWResNet": ("SEWRESNET.BLOCK", "basic", "SEWRESNET.LAYERS", [1, 1, 1, 1], "SNN.V_THRESHOLD", 0.2),
    "Spikformer": (
        *("SPIKFORMER.EMBED_DIM", 16, "SPIKFORMER.DEPTH", 1, "SPIKFORMER.NUM_HEADS", 2, "SPIKFORMER.MLP_RATIO", 2),
        *("SNN.V_THRESHOLD", 0.2),
    ),
}
# A model alone says too little: one of its presets does.
PRESET_OF = {"ResNet": "Slow"}


def tiny_options(name: str) -> tuple:
    """KEY VALUE pairs for a registered model or preset: itself, tiny."""
    return ("MODEL.MODEL_NAME", PRESET_OF.get(name, name), *COMMON, *TINY[preset_model(name)])
