"""What a folder holds, in natural order: 2 before 10. Hidden names (`._1.jpg` of macOS) are left out."""

import os
import re
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def natural(name: str) -> tuple[list[str | int], str]:
    """Sorting key of a name by which its numbers count, not their digits."""
    # Text and digits take turns, beginning with text. Equal numbers (1, 01) are then in spelling order.
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def is_hidden(path: Path) -> bool:
    """Whether one of the path's names begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def files_in(folder: str | Path, suffixes: frozenset[str]) -> list[str]:
    """Names of a folder's files that end with one of `suffixes` (lower case), in whatever case."""
    return _names(folder, lambda entry: os.path.splitext(entry.name)[1].lower() in suffixes and not entry.is_dir())


def folders_in(folder: str | Path) -> list[str]:
    """Names of a folder's subfolders."""
    return _names(folder, lambda entry: entry.is_dir())


def _names(folder: str | Path, is_wanted) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and is_wanted(entry)]
    return sorted(names, key=natural)
