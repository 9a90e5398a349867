"""List files: which videos there are, with which labels. Every error says file:line."""

from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One video of a list: its path as it will be opened, its label, frames of a frame folder, its line."""

    path: str
    label: int
    num_frames: int | None
    line: int


class ListError(ValueError):
    """A list file that cannot be used; the message says file:line, what stands there, what belongs there."""


def read_video_list(path: Path, *, separator: str = " ", prefix: str = "", num_classes: int) -> list[Entry]:
    """Lines `path SEP label`; the label is what follows the last separator, so paths may contain it."""
    entries = []
    for number, line in numbered_lines(path):
        video, found, label = line.rpartition(separator)
        if not found or not video.strip():
            raise ListError(
                f"{path}:{number}: {line!r} is not `path{separator}label`. If paths and labels are separated by "
                "something else, set DATA.PATH_LABEL_SEPARATOR."
            )
        label = parse_label(label, num_classes, f"{path}:{number}")
        entries.append(Entry(join(prefix, video.strip()), label, None, number))
    return nonempty(entries, path)


def read_frame_list(path: Path, *, prefix: str = "", num_classes: int) -> list[Entry]:
    """Lines `folder num_frames label` of frame folders, separated by spaces."""
    entries = []
    for number, line in numbered_lines(path):
        fields = line.rsplit(maxsplit=2)
        if len(fields) != 3 or not fields[1].isdigit() or int(fields[1]) < 1:
            raise ListError(f"{path}:{number}: {line!r} is not `folder num_frames label`.")
        folder, num_frames, label = fields
        label = parse_label(label, num_classes, f"{path}:{number}")
        entries.append(Entry(join(prefix, folder), label, int(num_frames), number))
    return nonempty(entries, path)


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, numbered from 1."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ListError(missing_list(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"Cannot read list {path}: {error}.") from error
    return [(i, line.rstrip("\r")) for i, line in enumerate(text.split("\n"), 1) if line.strip()]


def missing_list(path: Path) -> str:
    """What to do about a list that is not there."""
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} for list {path.name}. Set DATA.PATH_TO_DATA_DIR to the lists' folder."
    others = sorted(p.name for p in path.parent.iterdir() if p.is_file())[:10]
    have = f"that folder has {', '.join(others)}" if others else "that folder is empty"
    return f"There is no list {path}; {have}. Set DATA.PATH_TO_DATA_DIR, or make the list (DATASET.md)."


def parse_label(text: str, num_classes: int, where: str) -> int:
    text = text.strip()
    if not text.isdigit():
        raise ListError(f"{where}: label {text!r} is not a whole number from 0.")
    if int(text) >= num_classes:
        raise ListError(
            f"{where}: label {text} with MODEL.NUM_CLASSES {num_classes} (labels 0 to {num_classes - 1}). "
            "Set MODEL.NUM_CLASSES to the number of classes, or correct the line."
        )
    return int(text)


def join(prefix: str, path: str) -> str:
    return str(Path(prefix) / path) if prefix else path


def nonempty(entries: list[Entry], path: Path) -> list[Entry]:
    if not entries:
        raise ListError(f"List {path} names no video.")
    return entries
