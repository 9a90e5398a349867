"""Accepted keys with which upstream computes something else: at other values than the default they are refused."""

from collections.abc import Iterator

from slowfast.config.compat import accepted_keys
from slowfast.config.files import ConfigError, flatten
from slowfast.config.node import CfgNode
from slowfast.config.presets import preset_model
from slowfast.config.valid import shown

# What each asks for. A run without it would be another one than the config describes, in silence.
ELSEWHERE = {
    "NONLOCAL.LOCATION": "non-local blocks",
    "UNIFORMER.REPRESENTATION_SIZE": "a layer before the head",
    "DETECTION.ENABLE": "detection (AVA)",
    "DATA.MULTI_LABEL": "several labels of one video",
    "TASK": "self-supervised training",
    "MASK.ENABLE": "training with masks",
    "MULTIGRID.LONG_CYCLE": "multigrid training",
    "MULTIGRID.SHORT_CYCLE": "multigrid training",
    "SOLVER.LARS_ON": "LARS",
    "SOLVER.LAYER_DECAY": "a learning rate for each layer",
    "MODEL.DETACH_FINAL_FC": "training of the head alone",
    "MODEL.FROZEN_BN": "norms that are not trained",
    "TRAIN.CHECKPOINT_TYPE": "Caffe2 weights",
    "TEST.CHECKPOINT_TYPE": "Caffe2 weights",
    "TRAIN.FINETUNE": "this way to take only the weights (TRAIN.CHECKPOINT_EPOCH_RESET True does)",
    "TRAIN.KILL_LOSS_EXPLOSION_FACTOR": "the stop at a loss that explodes",
    "DATA.SKIP_ROWS": "rows of a list that are skipped",
    "DATA.LOADER_CHUNK_SIZE": "lists that are read in parts",
    "DATA.DUMMY_LOAD": "clips that stand for those of the videos",
    "DATA.TIME_DIFF_PROB": "differences of frames as input",
    "DATA.TRAIN_CROP_NUM_TEMPORAL": "several clips of one training video (AUG.NUM_SAMPLE does)",
    "DATA.TRAIN_CROP_NUM_SPATIAL": "several crops of one training clip (AUG.NUM_SAMPLE does)",
    "TEST.NUM_TEMPORAL_CLIPS": "several numbers of clips in one test (TEST.NUM_ENSEMBLE_VIEWS -1 does)",
    "DEMO.ENABLE": "the demo",
}
# Of MODEL.MODEL_NAME ResNet, C2D and Slow; no other model has such a thing.
OTHER_RESNETS = {
    "MODEL.HEAD_ACT": "another activation of the head",
    "RESNET.NUM_GROUPS": "grouped convolutions",
    "RESNET.SPATIAL_STRIDES": "other strides",
    "RESNET.SPATIAL_DILATIONS": "dilated convolutions",
    "RESNET.STRIDE_1X1": "a stride of a block's first convolution",
    "RESNET.ZERO_INIT_FINAL_CONV": "this initial value",
}
UNBUILT = ELSEWHERE | OTHER_RESNETS


def refuse_unbuilt(cfg: CfgNode) -> None:
    """Refuses values that ask for what is not built.

    Raises:
        ConfigError: the first of them, with what it asks for and its default.
    """
    defaults, values = accepted_keys()["not_built"], flatten(cfg)
    is_resnet = preset_model(cfg.MODEL.MODEL_NAME) == "ResNet"
    for key, what in (UNBUILT if is_resnet else ELSEWHERE).items():
        value, default = values[key], defaults[key]
        is_none = value is None or not (value or default)  # 0 where None is the default
        if not is_none and list(leaves(value)) != list(leaves(default)):
            raise ConfigError(
                f"{key} {shown(value)} asks for {what}. That is not built here, and without it this would be another "
                f"run. Remove the key, or set it to its default {default!r}."
            )


def leaves(value: object) -> Iterator[object]:
    """The values in lists of lists, however deep: SlowFast writes none as [], [[]] and [[[]]]."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value
