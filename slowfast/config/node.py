"""CfgNode: yacs' tree with values coerced to the default's type and errors that say what to type instead."""

import difflib
from ast import literal_eval

from yacs.config import CfgNode as YacsNode


class ConfigError(ValueError):
    """A key or value of a config that cannot be used; the message says where it stands and what to do."""


class CfgNode(YacsNode):
    """A config tree. Merging takes int for float and back, a scalar for a list, `1e-6` as a number, None always."""

    def merge_flat(self, values: dict[str, object], origin: str = "") -> None:
        """Sets dotted keys, each checked and coerced; `origin` (a file, the command line) opens error messages.

        Raises:
            ConfigError: a key that does not exist, with the nearest names, or a value of the wrong type.
        """
        for key, value in values.items():
            node, name = self._parent(key, origin)
            node[name] = coerce(key, value, node[name], origin)

    def merge_from_list(self, cfg_list: list) -> None:
        """KEY VALUE KEY VALUE ..., as on a command line."""
        if len(cfg_list) % 2:
            raise ConfigError(f"Options come as KEY VALUE pairs; {cfg_list[-1]!r} has no value.")
        self.merge_flat(dict(zip(cfg_list[::2], cfg_list[1::2], strict=True)))

    def merge_from_other_cfg(self, cfg_other: dict) -> None:
        self.merge_flat(flatten(cfg_other))

    def _parent(self, key: str, origin: str) -> tuple["CfgNode", str]:
        node = self
        *sections, name = key.split(".")
        for section in sections:
            node = node.get(section) if isinstance(node, CfgNode) else None
        if not isinstance(node, CfgNode) or name not in node:
            raise unknown_key(key, list(flatten(self)), origin)
        return node, name


def flatten(tree: dict, prefix: str = "") -> dict[str, object]:
    """Nested dicts as one dict of dotted keys; an empty section vanishes."""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def unknown_key(key: str, known: list[str], origin: str) -> ConfigError:
    """The error for a key that does not exist, with the names that come nearest."""
    matches = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    last = key.rsplit(".", 1)[-1]
    matches += [name for name in known if name.rsplit(".", 1)[-1] == last and name not in matches]
    hint = f" Did you mean {' or '.join(matches[:3])}?" if matches else " See --help-config for the keys there are."
    return ConfigError(f"{origin}{': ' if origin else ''}there is no config key {key}.{hint}")


def decode(value: object) -> object:
    """What a typed string means as a Python literal; other values and plain words as they are."""
    if not isinstance(value, str):
        return value
    try:
        return literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return value


def coerce(key: str, value: object, default: object, origin: str = "") -> object:
    """`value` in the type of `default`.

    None is always allowed, and a None default takes any type (an empty name counts as None).
    """
    if isinstance(default, str) and isinstance(value, str):
        return value
    value = decode(value)
    if isinstance(value, tuple):
        value = list(value)
    if default is None:
        return None if isinstance(value, str) and not value.strip() else value
    if value is None or type(value) is type(default):
        return value
    wrong = ConfigError(
        f"{origin}{': ' if origin else ''}{key} is {value!r} and must be {TYPE_NAMES.get(type(default), 'a value')} "
        f"like its default {default!r}."
    )
    if isinstance(value, bool) or isinstance(default, bool):
        raise wrong
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, int) and isinstance(value, float):
        # A whole number is an int typed as 30.; a fraction is meant (WARMUP_EPOCHS 2.5) and kept.
        return int(value) if value.is_integer() else value
    if isinstance(default, list) and isinstance(value, int | float):
        return [value]
    if isinstance(default, int | float) and isinstance(value, list) and is_uniform(value):
        # UniFormer's users give one value a stage; a uniform list says the same as its scalar.
        return coerce(key, value[0], default, origin)
    if isinstance(default, str) and isinstance(value, int | float):
        return str(value)
    raise wrong


def is_uniform(values: list) -> bool:
    return bool(values) and all(isinstance(v, int | float) and v == values[0] for v in values)


TYPE_NAMES = {int: "a number", float: "a number", bool: "True or False", list: "a list", str: "text"}
