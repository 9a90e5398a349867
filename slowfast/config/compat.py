"""What users of SlowFast, UniFormer and SVFormer type that is spelled, or means, something else here."""

from functools import cache
from pathlib import Path

import yaml

from slowfast.config.files import flatten

# Upstream spells one thing in several ways, and reads some keys it never defines.
ALIASES = {
    "MIXUP.ENABLED": "MIXUP.ENABLE",
    "SOLVER.CLIP_GRADIENT": "SOLVER.CLIP_GRAD_L2NORM",
    "TRAIN.GAMMA": "TRAIN.GAMMA1",
    "TIMESFORMER.PRETRAIN_PATH": "TIMESFORMER.PRETRAINED_MODEL",
    "UNIFORMER.HEAD_DROPOUT_RATE": "MODEL.DROPOUT_RATE",
}

# Values that select something removed or unmaintained -> (what is used instead, what is said).
DECODERS = {
    "decord": (
        "decord",
        "videos are decoded by PyAV, with decord's rule for clip lengths (DATA.TARGET_FPS is not used)",
    ),
    "torchvision": ("pyav", "torchvision no longer reads videos, PyAV decodes them"),
}

REMARKS = {
    "TRAIN.SAVE_LATEST": "the last epoch is always saved",
    "TRAIN.CHECKPOINT_INFLATE": "weights of 2-D convolutions are inflated whenever the model's are 3-D",
}

REASONS = {
    "never_read": "upstream never reads them either",
    "not_built": "they belong to parts not built",
}


@cache
def accepted_keys() -> dict[str, dict[str, object]]:
    """Keys of upstream that are accepted without effect: a dict {key: default} for each of REASONS."""
    groups = yaml.safe_load((Path(__file__).parent / "accepted.yaml").read_text(encoding="utf-8"))
    return {group: flatten(tree) for group, tree in groups.items()}


def translate(values: dict[str, object]) -> tuple[dict[str, object], list[str]]:
    """Typed dotted keys in our spelling, and a line for each thing that was translated."""
    translated, messages = {}, []
    for key, value in values.items():
        if key in ALIASES:
            messages.append(f"{key} is read as {ALIASES[key]}.")
            key = ALIASES[key]
        if key in REMARKS:
            messages.append(f"{key}: {REMARKS[key]}.")
        if key == "DATA.DECODING_BACKEND" and isinstance(value, str) and value in DECODERS:
            value, meaning = DECODERS[value]
            messages.append(f"{key} {values[key]}: {meaning}.")
        translated[key] = value
    return translated, messages


def without_effect(typed: set[str]) -> list[str]:
    """Lines that say which of the typed keys do nothing, and why; of REMARKS something else is said."""
    lines = []
    for group, keys in accepted_keys().items():
        idle = sorted(typed & keys.keys() - REMARKS.keys())
        if idle:
            lines.append(f"accepted, has no effect ({REASONS[group]}): {', '.join(idle)}")
    return lines
