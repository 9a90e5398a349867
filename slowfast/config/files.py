"""Reads config files: YAML with `_BASE_`, every key with the line it stands on."""

from pathlib import Path
from typing import NamedTuple

import yaml

BASE = "_BASE_"


class ConfigError(ValueError):
    """A key or value of a config that cannot be used; the message says where it stands and what to do."""


class Source(NamedTuple):
    """Dotted keys from one place, the lines of those that have one, and what to tell the user of the place."""

    origin: str
    values: dict[str, object]
    lines: dict[str, int]
    notes: list[str]


def flatten(tree: dict, prefix: str = "") -> dict[str, object]:
    """Nested dicts as one dict of dotted keys; an empty dict stays the value of its key."""
    flat = {}
    for key, value in tree.items():
        is_section = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return flat


def nest(flat: dict[str, object], make=dict) -> dict:
    """Dotted keys as nested dicts, or whatever `make` makes."""
    tree = make()
    for key, value in flat.items():
        node = tree
        *sections, name = key.split(".")
        for section in sections:
            node = node.setdefault(section, make())
        node[name] = value
    return tree


def read_with_bases(path: Path, above: tuple[Path, ...] = ()) -> list[Source]:
    """A file's `_BASE_` chain and the file itself, the furthest base first; `above`: the files that led here.

    Raises:
        ConfigError: a file that cannot be read or is no config, or bases that lead back to themselves.
    """
    path = path.expanduser()
    chain = (*above, path)
    if path.resolve() in (file.resolve() for file in above):
        raise ConfigError(f"{path}: {BASE} leads back to itself: {' -> '.join(map(str, chain))}.")
    tree, lines, notes = read_yaml(path, f"the path after {BASE} in {above[-1]}" if above else "the path after --cfg")
    bases = tree.pop(BASE, None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}:{lines[BASE]}: {BASE} is {bases!r} and must be a file name or a list of them.")
    sources = [source for base in bases for source in read_with_bases(path.parent / Path(base).expanduser(), chain)]
    return [*sources, Source(str(path), flatten(tree), lines, notes)]


def read_yaml(path: Path, culprit: str) -> tuple[dict, dict[str, int], list[str]]:
    """A config file as nested dicts, the line of each dotted key, and a note for each key that stands twice."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        lines, notes = key_lines(root, str(path)) if isinstance(root, yaml.MappingNode) else ({}, [])
        tree = loader.construct_document(root) if root else {}
    except OSError as error:
        raise ConfigError(f"Cannot read config file {path}: {error.strerror}. Check {culprit}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file. Check {culprit}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a config is sections of KEY: value, this file is a {type(tree).__name__}.")
    return tree, lines, notes


def key_lines(node: yaml.MappingNode, path: str, prefix: str = "") -> tuple[dict[str, int], list[str]]:
    """Dotted key -> line, sections too; a key written twice counts where it stands last, and that is noted."""
    lines, notes = {}, []
    for key, value in node.value:
        name, line = f"{prefix}{key.value}", key.start_mark.line + 1
        if name in lines:
            notes.append(f"{path}:{line}: {name} stands twice; what line {lines[name]} says of it is not used.")
        lines[name] = line
        if isinstance(value, yaml.MappingNode):
            below, said = key_lines(value, path, f"{name}.")
            lines, notes = lines | below, notes + said
    return lines, notes
