"""The config tree: its keys, how files and the command line fill it, and what goes together."""

from slowfast.config import defaults
from slowfast.config.check import assert_and_infer_cfg
from slowfast.config.files import ConfigError
from slowfast.config.help import help_config
from slowfast.config.keys import Key, add_section, get_cfg
from slowfast.config.load import (
    describe_diff,
    diff_to_defaults,
    load_config,
    named_model,
    parse_args,
    resolved_yaml,
    write_config,
)
from slowfast.config.node import CfgNode
from slowfast.config.presets import add_preset, add_unsupported, apply_preset, preset_model

__all__ = [
    "CfgNode",
    "ConfigError",
    "Key",
    "add_preset",
    "add_section",
    "add_unsupported",
    "apply_preset",
    "assert_and_infer_cfg",
    "defaults",
    "describe_diff",
    "diff_to_defaults",
    "get_cfg",
    "help_config",
    "load_config",
    "named_model",
    "parse_args",
    "preset_model",
    "resolved_yaml",
    "write_config",
]
