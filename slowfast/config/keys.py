"""What is declared of the config keys, and the tree of all of them at their defaults."""

from typing import NamedTuple

from slowfast.config.compat import accepted_keys
from slowfast.config.node import CfgNode
from slowfast.config.valid import FLAG, Valid


class Key(NamedTuple):
    """A declared key: its default, what it means, in which unit, and what it may be (True or False, where not said)."""

    default: object
    meaning: str
    unit: str = ""
    valid: Valid = FLAG

    @property
    def may_be_none(self) -> bool:
        """Whether None is a value: the default, or one whose meaning is told."""
        return self.default is None or "None" in self.meaning


DECLARED: dict[str, Key] = {}


def add_section(section: str, keys: dict[str, Key]) -> None:
    """Declares keys of a section ("" for the top level) by their names.

    A name may have dots for a section inside the section. Called at import, by the file that reads the keys.
    """
    for name, key in keys.items():
        full = f"{section}.{name}" if section else name
        if full in DECLARED:
            raise ValueError(f"Config key {full} is declared twice.")
        DECLARED[full] = key


def get_cfg() -> CfgNode:
    """A fresh config tree of all declared and accepted keys at their defaults."""
    groups = accepted_keys()
    keys = groups["never_read"] | groups["not_built"] | {name: key.default for name, key in DECLARED.items()}
    return CfgNode.from_defaults(keys)
