"""What users of SlowFast, UniFormer and SVFormer type that is spelled, or means, something else here."""

from slowfast.config.defaults import accepted_keys

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


def translate(values: dict[str, object]) -> tuple[dict[str, object], list[str]]:
    """Typed dotted keys in our spelling, and a line for each thing that was translated."""
    translated, messages = {}, []
    for key, value in values.items():
        if key in ALIASES:
            messages.append(f"{key} is read as {ALIASES[key]}.")
            key = ALIASES[key]
        if key == "DATA.DECODING_BACKEND" and value in DECODERS:
            value, meaning = DECODERS[value]
            messages.append(f"{key} {values[key]}: {meaning}.")
        translated[key] = value
    return translated, messages


def without_effect(typed: set[str]) -> list[str]:
    """Lines that say which of the typed keys do nothing, and why."""
    reasons = {
        "never_read": "upstream never reads them either",
        "not_built": "they belong to parts not built",
    }
    lines = []
    for group, reason in reasons.items():
        keys = sorted(typed & accepted_keys()[group].keys())
        if keys:
            lines.append(f"accepted, has no effect ({reason}): {', '.join(keys)}")
    return lines
