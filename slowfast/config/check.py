"""Rules over several keys. Each names the keys and what to set; `assert_and_infer_cfg` applies them all."""

from collections.abc import Callable

from slowfast.config.files import ConfigError, flatten
from slowfast.config.keys import DECLARED
from slowfast.config.node import CfgNode
from slowfast.config.presets import ARCHITECTURES, apply_preset, preset_model, preset_name, preset_value
from slowfast.config.unbuilt import refuse_unbuilt
from slowfast.config.valid import problem

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
        if value is None and key in DECLARED and not DECLARED[key].may_be_none:
            raise ConfigError(
                f"{cfg.told_by(key)}{key} has no value. Set it, or leave it out for its default "
                f"{DECLARED[key].default!r}."
            )


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


def value_of(cfg: CfgNode, key: str) -> object:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@rule
def values_are_valid(cfg: CfgNode) -> None:
    """Each key by itself; what it may be stands beside its declaration."""
    values = flatten(cfg)
    for key, declared in DECLARED.items():
        wrong = problem(values[key], declared.valid, none=declared.may_be_none)
        if wrong:
            raise ConfigError(f"{cfg.told_by(key)}{key} {wrong}")


@rule
def channels_have_a_mean_and_a_spread(cfg: CfgNode) -> None:
    channels = cfg.DATA.INPUT_CHANNEL_NUM[0]
    for key, values in (("DATA.MEAN", cfg.DATA.MEAN), ("DATA.STD", cfg.DATA.STD)):
        if len(values) != channels:
            raise ConfigError(
                f"{key} {values} has {len(values)} values, and clips have {channels} channels (DATA.INPUT_CHANNEL_NUM "
                f"{cfg.DATA.INPUT_CHANNEL_NUM}). Give each channel its value."
            )


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
    low = cfg.DATA.TRAIN_JITTER_SCALES[0]
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
    if scales and cfg.AUG.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE:
        raise ConfigError(
            "DATA.TRAIN_CROP_SCALES and DATA.TRAIN_JITTER_SCALES_RELATIVE exclude each other. Set one []."
        )


@rule
def an_architecture_is_known_or_told(cfg: CfgNode) -> None:
    arch, default = cfg.MODEL.ARCH, DECLARED["MODEL.ARCH"].default
    if arch.lower() not in (*ARCHITECTURES, default):
        cfg.remember(f"MODEL.ARCH {arch} is not used: MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} says which model it is.")


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
