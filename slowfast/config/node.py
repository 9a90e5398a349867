"""CfgNode: yacs' tree with values coerced to the default's type and errors that say what to type instead."""

import copy
import difflib
import os
from ast import literal_eval
from pathlib import Path

import yaml
from yacs.config import CfgNode as YacsNode

from slowfast.config.compat import translate
from slowfast.config.files import ConfigError, flatten, nest, read_with_bases
from slowfast.config.valid import shown


class CfgNode(YacsNode):
    """A config tree. Merging takes int for float and back, a scalar for a list, `1e-6` as a number, None always.

    Keys may be typed in upstream's other spellings (`compat.ALIASES`); `messages` says so.
    """

    @classmethod
    def from_defaults(cls, defaults: dict[str, object]) -> "CfgNode":
        """The tree of dotted keys; values merged later take the type of the default, whatever was merged before."""
        cfg = nest(copy.deepcopy(defaults), cls)
        cfg.__dict__["_defaults"] = defaults
        return cfg

    @property
    def messages(self) -> list[str]:
        """What a run should say at its start of how its config was read; no part of the tree."""
        return self.__dict__.setdefault("_messages", [])

    def remember(self, *messages: str) -> None:
        """Adds to `messages` what is not there yet."""
        self.messages.extend(message for message in messages if message not in self.messages)

    def is_set(self, key: str) -> bool:
        """Whether somebody decided a dotted key: merged it, even at its default, or assigned another value."""
        if key in self.__dict__.get("_merged", ()):
            return True
        return flatten(self).get(key) != self.__dict__.get("_defaults", {}).get(key)

    def told_by(self, key: str) -> str:
        """Where a dotted key was set, as the beginning of a message: `FILE:LINE: `; empty: nowhere that has a name."""
        return prefix(self.__dict__.get("_origins", {}).get(key, ""))

    def merge_flat(self, values: dict[str, object], origin: str = "", lines: dict[str, int] | None = None) -> set[str]:
        """Sets dotted keys, each checked and coerced, and returns them as they are spelled here.

        `origin` (a file, the command line), with the key's line if there is one, opens error messages.

        Raises:
            ConfigError: a key that does not exist, with the nearest names, or a value of the wrong type.
        """
        merged = set()
        for typed, value in values.items():
            where = f"{origin}:{lines[typed]}" if lines and typed in lines else origin
            translated, said = translate({typed: value})
            self.remember(*said)
            for key, value in translated.items():
                self._set_value(key, value, where)
                merged.add(key)
                self.__dict__.setdefault("_origins", {})[key] = where
        self.__dict__.setdefault("_merged", set()).update(merged)
        return merged

    def merge_from_file(self, cfg_filename: str | Path, allow_unsafe: bool = False) -> None:
        """A YAML file and its `_BASE_` chain; `allow_unsafe` is fvcore's, and files are always read safely."""
        for source in read_with_bases(Path(cfg_filename)):
            self.merge_flat(source.values, source.origin, source.lines)
            self.remember(*source.notes)

    def merge_from_list(self, cfg_list: list) -> None:
        """KEY VALUE KEY VALUE ..., as on a command line."""
        self.merge_flat(pairs(cfg_list))

    def merge_from_other_cfg(self, cfg_other: dict) -> None:
        self.merge_flat(flatten(cfg_other))

    def _set_value(self, key: str, value: object, where: str) -> None:
        node = self
        *sections, name = key.split(".")
        for section in sections:
            node = node.get(section) if isinstance(node, CfgNode) else None
        if not isinstance(node, CfgNode) or name not in node:
            raise unknown_key(key, list(flatten(self)), where)
        if not isinstance(node[name], CfgNode):
            default = self.__dict__.get("_defaults", {}).get(key, node[name])
            setattr(node, name, coerce(key, value, default, where))
        elif value:  # a section that is empty in the file, with all its keys commented out, sets nothing
            raise ConfigError(
                f"{prefix(where)}{key} is a section and {shown(value)} no key of it. Set {key}.KEY to a value."
            )


def pairs(words: list) -> dict[str, object]:
    """KEY VALUE KEY VALUE ... as a dict; a later value of the same key wins."""
    for key in words[::2]:
        if "=" in str(key):
            raise ConfigError(f"Options come as KEY VALUE. Type {key.replace('=', ' ', 1)}.")
    if len(words) % 2:
        raise ConfigError(f"Options come as KEY VALUE pairs, and {shown(words[-1])} is left over.")
    return dict(zip(words[::2], words[1::2], strict=True))


def prefix(where: str) -> str:
    return f"{where}: " if where else ""


def unknown_key(key: str, known: list[str], where: str = "") -> ConfigError:
    """The error for a key that does not exist, with the names that come nearest."""
    by_upper = {name.upper(): name for name in known}
    near = difflib.get_close_matches(key.upper(), by_upper, n=3, cutoff=0.85)
    near = near or difflib.get_close_matches(key.upper(), by_upper, n=1, cutoff=0.6)
    matches = [by_upper[match] for match in near]
    last = key.rsplit(".", 1)[-1]
    matches += [name for name in known if name.rsplit(".", 1)[-1] == last and name not in matches]
    hint = f"Did you mean {' or '.join(matches[:3])}?" if matches else "See --help-config for the keys there are."
    return ConfigError(f"{prefix(where)}there is no config key {key}. {hint}")


def decode(value: object) -> object:
    """What a typed string means as a Python literal, or as YAML's true, null, [a, b]; plain words as they are."""
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # no literal; TypeError: {{}}
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that does not exist
        return value
    is_list = isinstance(parsed, list) and value.strip().startswith("[")
    return parsed if is_list or isinstance(parsed, bool | None) else value


def coerce(key: str, value: object, default: object, where: str = "") -> object:
    """`value` in the type of `default`.

    None is always allowed (for text it is the empty name), and a None default takes any type.

    Raises:
        ConfigError: no value of that type, with `where` it stands.
    """
    wrong = ConfigError(f"{prefix(where)}{key} is {shown(value)} and must be {wanted(default)}.")
    if isinstance(default, str):
        return as_text(value, wrong)
    value = decode(os.fspath(value) if isinstance(value, os.PathLike) else value)
    if isinstance(value, list | tuple):
        try:
            value = plain_list(value, wrong)
        except RecursionError:  # lists within each other without end, or very many of them
            raise wrong from None
    if not isinstance(value, bool | int | float | str | list | None):
        raise wrong
    if default is None:
        return None if isinstance(value, str) and not value.strip() else value
    if value is None or type(value) is type(default):
        return value
    if isinstance(value, bool) or isinstance(default, bool):
        raise wrong
    if isinstance(default, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(default, int) and isinstance(value, float):
        # A whole number is an int typed as 30.; a fraction is meant (MLP_RATIO 2.5) and kept.
        return int(value) if value.is_integer() else value
    if isinstance(default, list) and isinstance(value, int | float):
        return [value] * max(len(default), 1)
    if isinstance(default, int | float) and isinstance(value, list) and is_uniform(value):
        # UniFormer's users give one value a stage; a uniform list says the same as its scalar.
        return coerce(key, value[0], default, where)
    raise wrong


def as_text(value: object, wrong: ConfigError) -> str:
    """A value for a key that is text: as typed, except that None is no name and YAML reads a bare {} as a dict."""
    if value is None or value == "None":
        return ""
    if isinstance(value, bool) or not (isinstance(value, str | int | float | os.PathLike) or value == {}):
        raise wrong
    return str(value)


def plain_list(values: list | tuple, wrong: ConfigError) -> list:
    """Lists and tuples within each other as lists of plain values."""
    if not all(isinstance(value, bool | int | float | str | list | tuple | None) for value in values):
        raise wrong
    return [plain_list(value, wrong) if isinstance(value, list | tuple) else value for value in values]


def is_uniform(values: list) -> bool:
    return bool(values) and all(isinstance(v, int | float) and v == values[0] for v in values)


TYPE_NAMES = {int: "a number", float: "a number", bool: "True or False", list: "a list", str: "text"}


def wanted(default: object) -> str:
    """What a key with this default takes, in words."""
    if default is None:
        return "a number, text, a list or None"
    return f"{TYPE_NAMES[type(default)]} like its default {default!r}"
