"""Rules over several keys. Each names the keys and what to set; `assert_and_infer_cfg` applies them all."""

import math
from collections.abc import Callable

from slowfast.config.defaults import DECLARED
from slowfast.config.files import ConfigError, flatten
from slowfast.config.node import CfgNode
from slowfast.config.presets import apply_preset, preset_model, preset_name, preset_value
from slowfast.config.unbuilt import refuse_unbuilt

RULES: list[Callable[[CfgNode], None]] = []


def rule(check: Callable[[CfgNode], None]) -> Callable[[CfgNode], None]:
    RULES.append(check)
    return check


def assert_and_infer_cfg(cfg: CfgNode) -> CfgNode:
    """Fills what follows from other keys, then checks the tree; returns it. Doing it again changes nothing.

    Raises:
        ConfigError: keys that do not go together, with the fix.
    """
    refuse_missing_values(cfg)
    infer_precision(cfg)
    apply_preset(cfg)
    refuse_unbuilt(cfg)
    scale_learning_rates(cfg)
    for check in RULES:
        check(cfg)
    return cfg


def refuse_missing_values(cfg: CfgNode) -> None:
    """None, as of a `KEY:` with nothing behind it, is a value only where the key's meaning says what None means."""
    for key, value in flatten(cfg).items():
        declared = DECLARED.get(key)
        if value is None and declared and declared.default is not None and "None" not in declared.meaning:
            raise ConfigError(f"{key} has no value. Set it, or leave it out for its default {declared.default!r}.")


def infer_precision(cfg: CfgNode) -> None:
    """TRAIN.MIXED_PRECISION left open is off on the CPU; on GPUs a preset may turn it on."""
    cfg.MODEL.MODEL_NAME = preset_name(cfg)
    published = preset_value(cfg.MODEL.MODEL_NAME, "TRAIN.MIXED_PRECISION")
    if cfg.TRAIN.MIXED_PRECISION is None and (cfg.NUM_GPUS == 0 or published is None):
        cfg.TRAIN.MIXED_PRECISION = False
        if published:
            cfg.remember("TRAIN.MIXED_PRECISION: off on the CPU; True would train in fp16 as published.")


def scale_learning_rates(cfg: CfgNode) -> None:
    """SOLVER.BASE_LR_SCALE_NUM_SHARDS: multiplies once, and notes that it is done by switching itself off."""
    if not cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS:
        return
    if cfg.NUM_SHARDS > 1:
        for key in ("BASE_LR", "WARMUP_START_LR", "COSINE_END_LR"):
            cfg.SOLVER[key] *= cfg.NUM_SHARDS
        cfg.remember(f"SOLVER.BASE_LR_SCALE_NUM_SHARDS: learning rates multiplied by NUM_SHARDS {cfg.NUM_SHARDS}.")
    cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS = False


CHOICES = {
    "SNN.BACKEND": ("auto", "cupy", "spikingjelly"),
    "SNN.STATE_DTYPE": ("float32", "input"),
    "TRAIN.AMP_DTYPE": ("float16", "bfloat16"),
    "TEST.NUM_SPATIAL_CROPS": (1, 3),
    "DATA.ENSEMBLE_METHOD": ("sum", "max"),
    "DATA.DECODING_BACKEND": ("pyav", "decord", "torchcodec"),
    "DATA.VAL_VIEW": ("center", "random"),
    "DATA.EVENT_SPLIT_BY": ("number", "time"),
    "DATA.EVENT_CLASS_ORDER": ("natural", "spelling"),
    "AUG.INTERPOLATION": ("bicubic", "bilinear"),
    "AUG.RE_MODE": ("pixel", "rand", "const"),
    "BN.NORM_TYPE": ("batchnorm", "sync_batchnorm"),
    "DIST.STRATEGY": ("ddp", "fsdp"),
    "SOLVER.LR_POLICY": ("cosine", "steps_with_relative_lrs"),
    "SOLVER.OPTIMIZING_METHOD": ("sgd", "adam", "adamw"),
}

# Whole numbers and the least each may be.
COUNTS = {
    "NUM_GPUS": 0,
    "CPU_THREADS": 0,
    "NUM_SHARDS": 1,
    "SHARD_ID": 0,
    "RNG_SEED": 0,
    "LOG_PERIOD": 1,
    "GLOBAL_BATCH_SIZE": 0,
    "TRAIN.BATCH_SIZE": 1,
    "TRAIN.EVAL_PERIOD": 1,
    "TRAIN.CHECKPOINT_PERIOD": 1,
    "TRAIN.CHECKPOINT_EVERY_STEPS": 0,
    "TRAIN.KEEP_CHECKPOINTS": 0,
    "TRAIN.MAX_NONFINITE_STEPS": 0,
    "DIST.CPU_PROCESSES": 1,
    "DIST.TIMEOUT": 1,
    "TEST.BATCH_SIZE": 1,
    "TEST.NUM_ENSEMBLE_VIEWS": -1,
    "DATA.NUM_FRAMES": 1,
    "DATA.SAMPLING_RATE": 1,
    "DATA.TRAIN_CROP_SIZE": 1,
    "DATA.TEST_CROP_SIZE": 1,
    "DATA.CHECK_VIDEOS": -1,
    "DATA.DECODING_SHORT_SIZE": 0,
    "DATA_LOADER.NUM_WORKERS": 0,
    "AUG.NUM_SAMPLE": 1,
    "AUG.RE_COUNT": 1,
    "MODEL.NUM_CLASSES": 1,
    "BN.NUM_BATCHES_PRECISE": 1,
    "SOLVER.MAX_EPOCH": 1,
    "SOLVER.GRADIENT_ACCUMULATION_STEPS": 1,
    "SNN.MAX_SPIKES": 1,
    "METASPIKFORMER.TIME_STEPS": 1,
    "TENSORBOARD.HISTOGRAM.TOPK": 1,
}

# Numbers between the two, both included.
RANGES = {
    "DATA.TARGET_FPS": (1, math.inf),
    "DATA.TRAIN_JITTER_FPS": (0, math.inf),
    "DATA.SSL_COLOR_HUE": (0, 0.5),
    "DATA.COLOR_RND_GRAYSCALE": (0, 1),
    "AUG.PCA_LIGHTING": (0, math.inf),
    "AUG.RE_PROB": (0, 1),
    "DATA.DECODE_CACHE_GB": (0, math.inf),
    "DATA.MAX_BAD_VIDEOS": (0, 1),
    "MIXUP.ALPHA": (0, math.inf),
    "MIXUP.CUTMIX_ALPHA": (0, math.inf),
    "MIXUP.PROB": (0, 1),
    "MIXUP.SWITCH_PROB": (0, 1),
    "MIXUP.LABEL_SMOOTH_VALUE": (0, 1),
    "MODEL.MAX_UNLOADED": (0, 1),
    "TRAIN.CHECKPOINT_EVERY_MINUTES": (0, math.inf),
    "SOLVER.BASE_LR": (0, math.inf),
    "SOLVER.COSINE_END_LR": (0, math.inf),
    "SOLVER.WARMUP_START_LR": (0, math.inf),
    "SOLVER.WARMUP_EPOCHS": (0, math.inf),
    "SOLVER.WEIGHT_DECAY": (0, math.inf),
}

# Lists of positive or zero numbers, and how many.
LENGTHS = {
    "DATA.MEAN": (2, 3),  # colours, or the two polarities of events
    "DATA.STD": (2, 3),
    "DATA.INPUT_CHANNEL_NUM": (1, 2),
    "DATA.TRAIN_JITTER_SCALES": (2,),
    "DATA.TRAIN_JITTER_SCALES_RELATIVE": (0, 2),
    "DATA.TRAIN_JITTER_ASPECT_RELATIVE": (0, 2),
    "DATA.SSL_COLOR_BRI_CON_SAT": (3,),
    "DATA.TRAIN_PCA_EIGVAL": (3,),
    "SOLVER.BETAS": (2,),
    "TENSORBOARD.CONFUSION_MATRIX.FIGSIZE": (2,),
    "TENSORBOARD.HISTOGRAM.FIGSIZE": (2,),
}


def value_of(cfg: CfgNode, key: str) -> object:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@rule
def choices_exist(cfg: CfgNode) -> None:
    for key, choices in CHOICES.items():
        if value_of(cfg, key) not in choices:
            names = ", ".join(map(str, choices))
            raise ConfigError(f"{key} is {value_of(cfg, key)!r}. Set it to one of: {names}.")


@rule
def counts_are_whole_and_large_enough(cfg: CfgNode) -> None:
    for key, least in COUNTS.items():
        value = value_of(cfg, key)
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{key} is {value!r} and must be a whole number of at least {least}.")


@rule
def numbers_are_in_range(cfg: CfgNode) -> None:
    for key, (least, most) in RANGES.items():
        value = value_of(cfg, key)
        if not least <= value <= most:
            wanted = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise ConfigError(f"{key} is {value!r} and must be {wanted}.")


@rule
def lists_are_complete(cfg: CfgNode) -> None:
    for key, lengths in LENGTHS.items():
        values = value_of(cfg, key)
        if len(values) not in lengths or not all(isinstance(v, int | float) and v >= 0 for v in values):
            counts = " or ".join(map(str, lengths))
            raise ConfigError(f"{key} is {values!r} and must be a list of {counts} numbers, none below 0.")


@rule
def output_has_a_place(cfg: CfgNode) -> None:
    if not cfg.OUTPUT_DIR.strip():
        raise ConfigError("OUTPUT_DIR is empty. Set it to the folder for logs, checkpoints and results.")


@rule
def shards_are_numbered_from_zero(cfg: CfgNode) -> None:
    if cfg.SHARD_ID >= cfg.NUM_SHARDS:
        raise ConfigError(f"SHARD_ID {cfg.SHARD_ID} must be below NUM_SHARDS {cfg.NUM_SHARDS}: shards count from 0.")


@rule
def batches_divide_over_processes(cfg: CfgNode) -> None:
    processes = cfg.NUM_GPUS or cfg.DIST.CPU_PROCESSES
    divisor = "NUM_GPUS" if cfg.NUM_GPUS else "DIST.CPU_PROCESSES"
    for key in ("TRAIN.BATCH_SIZE", "TEST.BATCH_SIZE"):
        size = value_of(cfg, key)
        if size % processes:
            fitting = max(size // processes, 1) * processes
            raise ConfigError(f"{key} {size} does not divide over {divisor} {processes}. Set {key} {fitting}.")


@rule
def accumulation_is_asked_for_once(cfg: CfgNode) -> None:
    if cfg.GLOBAL_BATCH_SIZE and cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS > 1:
        raise ConfigError(
            "GLOBAL_BATCH_SIZE and SOLVER.GRADIENT_ACCUMULATION_STEPS both ask for gradient accumulation. "
            "Set GLOBAL_BATCH_SIZE 0 or SOLVER.GRADIENT_ACCUMULATION_STEPS 1."
        )


@rule
def schedule_is_complete(cfg: CfgNode) -> None:
    if cfg.SOLVER.WARMUP_EPOCHS > cfg.SOLVER.MAX_EPOCH:
        cfg.remember("SOLVER.WARMUP_EPOCHS is longer than SOLVER.MAX_EPOCH: training ends within the warm-up.")
    if cfg.SOLVER.LR_POLICY == "cosine":
        if cfg.SOLVER.COSINE_END_LR >= cfg.SOLVER.BASE_LR:
            raise ConfigError(
                f"SOLVER.COSINE_END_LR {cfg.SOLVER.COSINE_END_LR} must be below SOLVER.BASE_LR {cfg.SOLVER.BASE_LR}."
            )
        return
    steps, lrs = cfg.SOLVER.STEPS, cfg.SOLVER.LRS
    if not steps or steps[0] != 0 or sorted(steps) != list(steps):
        raise ConfigError(
            f"SOLVER.LR_POLICY steps_with_relative_lrs needs SOLVER.STEPS {steps} ascending from 0, as [0, 20, 40]."
        )
    if len(lrs) < len(steps):
        raise ConfigError(
            f"SOLVER.LRS has {len(lrs)} values and SOLVER.STEPS {len(steps)}. Give each step its factor, such as "
            "[1, 0.1, 0.01] for [0, 20, 40]."
        )
    if len(lrs) > len(steps):
        unused = ", ".join(map(str, lrs[len(steps) :]))
        cfg.remember(f"SOLVER.LRS has {len(lrs)} values and SOLVER.STEPS {len(steps)}: {unused} will not be used.")


@rule
def mixed_labels_have_a_loss(cfg: CfgNode) -> None:
    if cfg.MIXUP.ENABLE and cfg.MODEL.LOSS_FUNC == "cross_entropy":
        raise ConfigError("MIXUP.ENABLE mixes labels. Set MODEL.LOSS_FUNC soft_cross_entropy.")
    if cfg.MIXUP.ENABLE and not (cfg.MIXUP.ALPHA > 0 or cfg.MIXUP.CUTMIX_ALPHA > 0):
        raise ConfigError("MIXUP.ENABLE without MixUp and CutMix. Set MIXUP.ALPHA or MIXUP.CUTMIX_ALPHA above 0.")


@rule
def a_test_video_has_clips(cfg: CfgNode) -> None:
    if cfg.TEST.NUM_ENSEMBLE_VIEWS == 0:
        raise ConfigError(
            "TEST.NUM_ENSEMBLE_VIEWS is 0. Set the clips of a test video, or -1 to compare 1, 3, 5, 7, 10."
        )


@rule
def training_crops_fit(cfg: CfgNode) -> None:
    low, high = cfg.DATA.TRAIN_JITTER_SCALES
    if low > high:
        raise ConfigError(f"DATA.TRAIN_JITTER_SCALES {cfg.DATA.TRAIN_JITTER_SCALES} must be [low, high].")
    relative = cfg.AUG.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE
    if cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE and not cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE:
        raise ConfigError(
            "DATA.TRAIN_JITTER_ASPECT_RELATIVE does nothing alone. Set DATA.TRAIN_JITTER_SCALES_RELATIVE too, such as "
            "[0.08, 1.0], or DATA.TRAIN_JITTER_ASPECT_RELATIVE []."
        )
    jittered = not relative and not cfg.DATA.TRAIN_CROP_SCALES
    if cfg.TRAIN.ENABLE and jittered and low < cfg.DATA.TRAIN_CROP_SIZE:
        raise ConfigError(
            f"DATA.TRAIN_JITTER_SCALES {cfg.DATA.TRAIN_JITTER_SCALES} makes clips smaller than DATA.TRAIN_CROP_SIZE "
            f"{cfg.DATA.TRAIN_CROP_SIZE}. Set its lower end to at least {cfg.DATA.TRAIN_CROP_SIZE}."
        )


@rule
def multi_scale_crops_are_shares(cfg: CfgNode) -> None:
    scales = cfg.DATA.TRAIN_CROP_SCALES
    if not all(isinstance(scale, int | float) and 0 < scale <= 1 for scale in scales):
        raise ConfigError(f"DATA.TRAIN_CROP_SCALES {scales} must be shares above 0, at most 1.")
    if scales and cfg.AUG.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE:
        raise ConfigError(
            "DATA.TRAIN_CROP_SCALES and DATA.TRAIN_JITTER_SCALES_RELATIVE exclude each other. Set one []."
        )


@rule
def directions_of_colour_are_a_matrix(cfg: CfgNode) -> None:
    rows = cfg.DATA.TRAIN_PCA_EIGVEC
    if [len(row) if isinstance(row, list | tuple) else 0 for row in rows] != [3, 3, 3]:
        raise ConfigError(f"DATA.TRAIN_PCA_EIGVEC {rows} must be three rows of three numbers.")


# Keys of a section that several models share and only one of them reads.
READ_ONLY_BY = {
    "Uniformer": ("QKV_BIAS", "ATTENTION_DROPOUT_RATE", "SPLIT", "STD", "PRETRAIN_NAME"),
    "SVFormer": ("TIME_NORM", "ATTENTION", "LOCAL_GLOBAL_FUSION", "TIME_HEAD"),
}


@rule
def keys_of_another_model_are_told(cfg: CfgNode) -> None:
    model = preset_model(cfg.MODEL.MODEL_NAME)
    for reader, names in READ_ONLY_BY.items():
        keys = [f"UNIFORMER.{name}" for name in names]
        idle = [key for key in keys if value_of(cfg, key) != DECLARED[key].default]
        if idle and model in READ_ONLY_BY and model != reader:
            cfg.remember(f"{', '.join(idle)}: {model} has no such thing, only {reader} reads it.")
