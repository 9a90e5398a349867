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
    if not separator:
        raise ListError('DATA.PATH_LABEL_SEPARATOR is empty. Set it to what stands between path and label, " " or ",".')
    entries = []
    for number, line in numbered_lines(path, "DATA.PATH_TO_DATA_DIR"):
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
    for number, line in numbered_lines(path, "DATA.PATH_TO_DATA_DIR and DATA.LABEL_PATH_TEMPLATE"):
        fields = line.rsplit(maxsplit=2)
        if len(fields) != 3 or not is_whole(fields[1]) or int(fields[1]) < 1:
            raise ListError(f"{path}:{number}: {line!r} is not `folder num_frames label` with at least one frame.")
        folder, num_frames, label = fields
        label = parse_label(label, num_classes, f"{path}:{number}")
        entries.append(Entry(join(prefix, folder), label, int(num_frames), number))
    return nonempty(entries, path)


def numbered_lines(path: Path, keys: str) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, numbered from 1; `keys` say where the list is."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark before the first path
    except FileNotFoundError as error:
        raise ListError(missing_list(path, keys)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"Cannot read list {path}: {error}.") from error
    return [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1) if line.strip()]


def missing_list(path: Path, keys: str) -> str:
    """What to do about a list that is not there."""
    path = path.absolute()
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} for list {path.name}. Set {keys} to where the lists are."
    others = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
    have = f"that folder has {shown}" if others else "that folder has no files"
    return f"There is no list {path}; {have}. Set {keys}, or make the list (DATASET.md)."


def parse_label(text: str, num_classes: int, where: str) -> int:
    text = text.strip()
    if not is_whole(text):
        raise ListError(
            f"{where}: label {text!r} is not a whole number from 0. If something else than the line's last "
            "DATA.PATH_LABEL_SEPARATOR stands before the label, set that key."
        )
    if int(text) >= num_classes:
        raise ListError(
            f"{where}: label {text} with MODEL.NUM_CLASSES {num_classes} (labels 0 to {num_classes - 1}). "
            "Set MODEL.NUM_CLASSES to the number of classes, or correct the line."
        )
    return int(text)


def is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def join(prefix: str, path: str) -> str:
    return str(Path(prefix) / path) if prefix else path


def nonempty(entries: list[Entry], path: Path) -> list[Entry]:
    if not entries:
        raise ListError(f"List {path} names no video.")
    return entries
