"""MODEL_REGISTRY and `build_model`: from MODEL.MODEL_NAME to a module on the CPU."""

from pathlib import Path

from torch import nn

from slowfast.config import CfgNode, apply_preset, named_model, preset_model
from slowfast.config.check import values_are_valid
from slowfast.config.presets import PRESETS, preset_name
from slowfast.spiking.packing import pack_spikes
from slowfast.utils.registry import Registry

MODEL_REGISTRY = Registry("MODEL.MODEL_NAME")


def build_model(cfg: CfgNode) -> nn.Module:
    """The model `MODEL.MODEL_NAME` names, in fp32 on the CPU; publications' defaults fill keys that nobody set.

    A model takes clips [B, C, T, H, W] (or SlowFast's list of that one tensor) and returns logits [B, K].

    Raises:
        KeyError: no such model; the message lists those that exist.
        ValueError: keys with values that they cannot have, or that do not go together.
    """
    cfg = cfg.clone()
    apply_preset(cfg)
    values_are_valid(cfg)
    model = model_class(cfg.MODEL.MODEL_NAME)(cfg)
    return pack_spikes(model) if cfg.SNN.PACK_SPIKES else model


def model_class(name: str) -> type[nn.Module]:
    """The registered class behind the name of a model or preset.

    Raises:
        KeyError: as `build_model`.
    """
    return MODEL_REGISTRY.get(preset_model(name), also=PRESETS)


def refuse_unknown_model(file: str | Path, opts: list) -> None:
    """Before anything else is said of a config that names its model: for another one most of it would be of no use.

    Raises:
        KeyError: as `build_model`.
        ConfigError: one of upstream's models that is not supported.
    """
    name = named_model(file, opts)
    if name is not None:
        model_class(name)


def refuse_unregistered(cfg: CfgNode) -> None:
    """The same of a whole config, which may also leave the model at the default."""
    model_class(preset_name(cfg))
