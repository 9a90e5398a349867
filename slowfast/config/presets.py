"""Presets: a name for MODEL.MODEL_NAME that stands for a registered model and its published values."""

from typing import NamedTuple

from slowfast.config.defaults import DECLARED
from slowfast.config.files import flatten
from slowfast.config.node import CfgNode


class Preset(NamedTuple):
    """A registered model and dotted keys with the values its publication (or upstream's variant) uses."""

    model: str
    values: dict[str, object]


PRESETS: dict[str, Preset] = {}
ARCHITECTURES: dict[str, str] = {}  # upstream's MODEL.ARCH -> preset


def add_preset(name: str, model: str, *, arch: str | None = None, **values: object) -> None:
    """Declares that MODEL.MODEL_NAME `name` is `model` with `values` for keys that nobody set.

    `arch`: upstream's MODEL.ARCH string for the same, which selects the preset when MODEL_NAME is not given.
    """
    if name in PRESETS:
        raise ValueError(f"Preset {name} is added twice.")
    PRESETS[name] = Preset(model, values)
    if arch is not None:
        ARCHITECTURES[arch.lower()] = name


def preset_name(cfg: CfgNode) -> str:
    """MODEL.MODEL_NAME, or the preset MODEL.ARCH names when the former was left at its default."""
    name = cfg.MODEL.MODEL_NAME
    if name == DECLARED["MODEL.MODEL_NAME"].default:
        return ARCHITECTURES.get(cfg.MODEL.ARCH.lower(), name)
    return name


def preset_model(name: str) -> str:
    """The registered model behind a preset; any other name as it is."""
    return PRESETS[name].model if name in PRESETS else name


def preset_value(name: str, key: str) -> object:
    """What preset `name` says of a dotted key; None if it says nothing."""
    return PRESETS[name].values.get(key) if name in PRESETS else None


def apply_preset(cfg: CfgNode) -> None:
    """Names the model and fills keys that nobody set with the preset's values; doing it again changes nothing.

    Set is a key that was merged (a file, the command line) with a value, or that no longer has its default.
    """
    cfg.MODEL.MODEL_NAME = preset_name(cfg)
    preset = PRESETS.get(cfg.MODEL.MODEL_NAME)
    if preset is None:
        return
    values = flatten(cfg)
    # A key that does not exist is merged too, for merging says so.
    unset = {key: value for key, value in preset.values.items() if values.get(key) is None or not cfg.is_set(key)}
    cfg.merge_flat(unset, f"preset {cfg.MODEL.MODEL_NAME}")
