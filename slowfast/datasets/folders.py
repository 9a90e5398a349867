"""What a folder holds, in natural order: 2 before 10. Hidden names (`._1.jpg` of macOS) are left out."""

import os
import re
from pathlib import Path

from slowfast.datasets.lists import ListError
from slowfast.utils.wording import first_of

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


def class_labels(folder: Path, training: Path, num_classes: int, *, by_spelling: bool) -> dict[str, int]:
    """Labels of the classes whose folders are in a split's folder, in the natural order of names or `by_spelling`.

    All splits number the folders of `training`, for a split may lack some; where there are none, their own.

    Raises:
        ListError: there are none, or not `num_classes`, or some that are not in `training`.
    """
    source = training if training.is_dir() and folders_in(training) else folder
    here, classes = folders_in(folder) if folder.is_dir() else [], folders_in(source) if source.is_dir() else []
    if not here:
        raise ListError(f"There are no folders of classes in {folder}. Set DATA.PATH_TO_DATA_DIR to what is above.")
    if len(classes) != num_classes:
        raise ListError(
            f"{source} has folders of {len(classes)} classes and MODEL.NUM_CLASSES is {num_classes}. Set it to "
            f"{len(classes)}; or, if classes are left out, give {training} a folder of every class, if only empty."
        )
    unknown = [name for name in here if name not in classes]
    if unknown:
        raise ListError(
            f"{folder} has folders of classes that {source} has not: {first_of(unknown, 5)}. Remove them, or make them "
            "there too, if only empty, and raise MODEL.NUM_CLASSES."
        )
    order = sorted(classes) if by_spelling else classes
    return {name: label for label, name in enumerate(order) if name in here}


def _names(folder: str | Path, is_wanted) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and is_wanted(entry)]
    return sorted(names, key=natural)
