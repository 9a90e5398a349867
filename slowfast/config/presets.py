"""Presets: a name for MODEL.MODEL_NAME that stands for a registered model and its published values."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from slowfast.config.files import ConfigError, flatten
from slowfast.config.keys import DECLARED
from slowfast.config.node import CfgNode


class Preset(NamedTuple):
    """A registered model and dotted keys with the values its publication (or upstream's variant) uses."""

    model: str
    values: dict[str, object]


PRESETS: dict[str, Preset] = {}
ARCHITECTURES: dict[str, str] = {}  # upstream's MODEL.ARCH -> preset
# Patterns of upstream's names of models that are not here, in lower case -> what they are.
UNSUPPORTED: dict[str, str] = {}


def add_preset(name: str, model: str, *, arch: str | None = None, **values: object) -> None:
    """Declares that MODEL.MODEL_NAME `name` is `model` with `values` for keys that nobody set.

    `arch`: upstream's MODEL.ARCH string for the same, which selects the preset when MODEL_NAME is not given.
    """
    if name in PRESETS:
        raise ValueError(f"Preset {name} is added twice.")
    PRESETS[name] = Preset(model, values)
    if arch is not None:
        ARCHITECTURES[arch.lower()] = name


def add_unsupported(name: str, kind: str) -> None:
    """Declares that upstream's `name` or names (a shell pattern), as MODEL.MODEL_NAME or MODEL.ARCH, are refused.

    `kind`: what it is, as in "this KIND is not built here".
    """
    UNSUPPORTED[name.lower()] = kind


def unsupported_kind(name: str) -> str:
    """What a model of upstream's that is not built here is; empty for any other name."""
    return next((kind for pattern, kind in UNSUPPORTED.items() if fnmatchcase(name.lower(), pattern)), "")


def preset_name(cfg: CfgNode) -> str:
    """MODEL.MODEL_NAME, or the preset MODEL.ARCH names when the former was left at its default.

    Raises:
        ConfigError: it is one of upstream's that are not supported.
    """
    key, name = "MODEL.MODEL_NAME", cfg.MODEL.MODEL_NAME
    if name == DECLARED[key].default:
        key, by_arch = "MODEL.ARCH", cfg.MODEL.ARCH.lower()
        name = ARCHITECTURES.get(by_arch, by_arch if unsupported_kind(by_arch) else name)
    if kind := unsupported_kind(name):
        raise ConfigError(
            f"{key} {name} is not supported: this {kind} is not built here, and no settings of another model make it. "
            "Set MODEL.MODEL_NAME to a model that `python -m slowfast.models.list` prints."
        )
    return name


def preset_model(name: str) -> str:
    """The registered model behind a preset; any other name as it is."""
    return PRESETS[name].model if name in PRESETS else name


def preset_value(name: str, key: str) -> object:
    """What preset `name` says of a dotted key; None if it says nothing."""
    return PRESETS[name].values.get(key) if name in PRESETS else None


def apply_preset(cfg: CfgNode) -> None:
    """Names the model and fills keys that nobody set with the preset's values; doing it again changes nothing."""
    cfg.MODEL.MODEL_NAME = preset_name(cfg)
    preset = PRESETS.get(cfg.MODEL.MODEL_NAME)
    if preset is None:
        return
    values = flatten(cfg)
    # A key that does not exist is merged too, for merging says so.
    unset = {key: value for key, value in preset.values.items() if is_open(cfg, key, values.get(key))}
    cfg.merge_flat(unset, f"preset {cfg.MODEL.MODEL_NAME}")


def is_open(cfg: CfgNode, key: str, value: object) -> bool:
    """Whether nobody decided a key, now `value`: it was not merged (a file, the command line) and has its default.

    None decides nothing where it is the default (SNN.TAU), and is a value where it is not (SNN.V_RESET).
    """
    left_open = key in DECLARED and DECLARED[key].default is None and value is None
    return left_open or not cfg.is_set(key)
