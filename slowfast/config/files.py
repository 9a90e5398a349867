"""Reads config files: YAML with `_BASE_`, every key with the line it stands on."""

import os
from pathlib import Path
from typing import NamedTuple

import yaml

from slowfast.utils.texts import LONGEST_LINE, TextError, read_text, shortened

BASE = "_BASE_"
LARGEST = 2**20  # bytes of a file
MOST_VALUES = 100_000  # of a file, when its aliases are written out


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
    path = path if above else expanded(path, "--cfg")
    chain = (*above, path)
    if os.path.realpath(path) in map(os.path.realpath, above):
        raise ConfigError(f"{path}: {BASE} leads back to itself: {' -> '.join(map(str, chain))}.")
    tree, lines, notes = read_yaml(path, f"the path after {BASE} in {above[-1]}" if above else "the path after --cfg")
    bases = tree.pop(BASE, None) or []
    bases = [bases] if isinstance(bases, str) else bases
    where = f"{path}:{lines[BASE]}: {BASE}" if BASE in lines else f"{path}: {BASE}"
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{where} is {shortened(repr(bases))} and must be a file name or a list of them.")
    files = [path.parent / expanded(Path(base), where) for base in bases]
    sources = [source for file in files for source in read_with_bases(file, chain)]
    return [*sources, Source(str(path), flatten(tree), lines, notes)]


def expanded(path: Path, where: str) -> Path:
    """`path` with the home folder for which its `~` stands.

    Raises:
        ConfigError: there is no such folder, or this can be no path; `where` it stands is said.
    """
    if "\0" in str(path):
        raise ConfigError(f"{where} {str(path)!r}: no path has a null byte in it.")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{where} {path}: there is no home folder of {path.parts[0]}. Write the whole path."
        ) from error


def read_yaml(path: Path, culprit: str) -> tuple[dict, dict[str, int], list[str]]:
    """A config file as nested dicts, the line of each dotted key, and a note for each key that stands twice."""
    root = None
    try:
        loader = Loader(read_text(path, "config file", f"Check {culprit}.", largest=LARGEST))
        root = loader.get_single_node()
        refuse_endless(root, path)
        lines, notes = key_lines(root, str(path)) if isinstance(root, yaml.MappingNode) else ({}, [])
        tree = loader.construct_document(root) if root else {}
    except TextError as error:
        raise ConfigError(str(error)) from error
    except yaml.YAMLError as error:
        where = place(path, root, error.problem_mark) if getattr(error, "problem_mark", None) else str(path)
        raise ConfigError(f"{where}: not valid YAML: {shortened(getattr(error, 'problem', str(error)))}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: brackets or sections within each other, too many. Check {culprit}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a config is sections of KEY: value, this file is a {type(tree).__name__}.")
    return tree, lines, notes


class Loader(yaml.SafeLoader):
    """YAML's safe loader; a value that is not of its type is an error with its place, not one of Python's."""

    def construct_object(self, node: yaml.Node, deep: bool = False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            shown = repr(shortened(node.value)) if isinstance(node, yaml.ScalarNode) else f"this {node.id}"
            problem = f"{shown} is no {kind}"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from error


def refuse_endless(root: yaml.Node | None, path: Path) -> None:
    """Raises ConfigError for a value that holds itself, an endless one, or aliases that stand for endless ones."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, above: tuple[yaml.Node, ...]) -> int:
        """How many values a node is, with its aliases written out."""
        if node in above:
            raise ConfigError(f"{place(path, root, node.start_mark)} holds itself: an alias of its anchor is in it.")
        if isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST_LINE:
            shown = repr(shortened(node.value))
            raise ConfigError(f"{place(path, root, node.start_mark)}: no value may be as long as {shown}.")
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(size(part, (*above, node)) for part in parts_of(node))
        return sizes[id(node)]

    if root and size(root, ()) > MOST_VALUES:
        raise ConfigError(f"{path}: its aliases stand for more than {MOST_VALUES} values. Write out what is meant.")


def parts_of(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def place(path: Path, root: yaml.Node | None, mark: yaml.Mark) -> str:
    """`file:line: KEY` of a place in the text, or `file:line` where there is no key."""
    where, key = f"{path}:{mark.line + 1}", shortened(key_at(root, mark.index))
    return f"{where}: {key}" if key else where


def key_at(node: yaml.Node | None, index: int) -> str:
    """The dotted key whose value stands at a place of the text; empty if there is none."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if value.start_mark.index <= index < value.end_mark.index and isinstance(key, yaml.ScalarNode):
            below = "" if value.start_mark.index == index else key_at(value, index)
            return f"{key.value}.{below}" if below else key.value
    return ""


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
