"""List files: which videos there are, with which labels. Every error says file:line."""

from pathlib import Path
from typing import NamedTuple

from slowfast.utils.texts import TextError, read_lines, shortened

NO_LABEL = -1
SEPARATORS = {" ": '" "', ",": '","', "\t": r'"\t"', ";": '";"'}  # as they are typed
MOST_FRAMES = 2**31  # more than any video has


class Entry(NamedTuple):
    """One video of a list: its path as it will be opened, its label, frames of a frame folder, its line."""

    path: str
    label: int
    num_frames: int | None
    line: int


class ListError(ValueError):
    """A list file that cannot be used; the message says file:line, what stands there, what belongs there."""


def read_video_list(
    path: Path, *, separator: str = " ", prefix: str = "", num_classes: int, may_lack_labels: bool = False
) -> list[Entry]:
    r"""Lines `path SEP label`; the label is what follows the last separator, so paths may contain it.

    The separator may be typed as \t. If no line has a label and `may_lack_labels`, every line is a path and its label
    is NO_LABEL.

    Raises:
        ListError: the list cannot be read, is empty, or has a line without path or with a wrong label.
    """
    separator = "\t" if separator == r"\t" else separator
    if not separator:
        raise ListError('DATA.PATH_LABEL_SEPARATOR is empty. Set it to what stands between path and label, " " or ",".')
    lines = list_lines(path, "DATA.PATH_TO_DATA_DIR")
    entries = []
    for number, line in lines:
        video, _, label = line.rpartition(separator)
        video, label = unquoted(video.strip()), label.strip()
        if not video or not is_whole(label):
            if may_lack_labels and lack_labels(lines, separator):
                return [Entry(join(prefix, unquoted(line)), NO_LABEL, None, number) for number, line in lines]
            raise ListError(f"{path}:{number}: {what_is_wrong(line, lines, separator)}")
        entries.append(Entry(join(prefix, video), checked_label(label, num_classes, path, number), None, number))
    refuse_stray_separator(entries, path, separator)
    return entries


def read_frame_list(path: Path, *, prefix: str = "", num_classes: int) -> list[Entry]:
    """Lines `folder num_frames label` of frame folders, separated by spaces.

    Raises:
        ListError: the list cannot be read, is empty, or has another line.
    """
    entries = []
    for number, line in list_lines(path, "DATA.PATH_TO_DATA_DIR and DATA.LABEL_PATH_TEMPLATE"):
        fields = line.rsplit(maxsplit=2)
        if len(fields) != 3 or not is_whole(fields[1]) or not 0 < int(fields[1]) < MOST_FRAMES:
            raise ListError(
                f"{path}:{number}: {shortened(line)!r} is not `folder num_frames label`, separated by spaces, with at "
                "least one frame. To predict, any label will do."
            )
        folder, num_frames, label = fields
        if not is_whole(label):
            raise ListError(f"{path}:{number}: label {shortened(label)!r} is not a whole number from 0.")
        label = checked_label(label, num_classes, path, number)
        entries.append(Entry(join(prefix, unquoted(folder)), label, int(num_frames), number))
    return entries


def list_lines(path: Path, keys: str) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, numbered from 1; `keys` say where the list is."""
    try:
        lines = read_lines(path, "list", f"Set {keys}, or make the list (DATASET.md).")
    except TextError as error:
        raise ListError(missing_list(path, keys) if error.missing else str(error)) from error
    if not lines:
        raise ListError(
            f"List {path} names no video. Write a line with path and label for each, or let slowfast.datasets.prepare "
            f"do it (DATASET.md), or set {keys} to where another list is."
        )
    return lines


def missing_list(path: Path, keys: str) -> str:
    """What to do about a list that is not there."""
    path = path.absolute()
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} for list {path.name}. Set {keys} to where the lists are."
    others = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
    have = f"that folder has {shown}" if others else "that folder has no files"
    return f"There is no list {path}; {have}. Set {keys}, or make the list (DATASET.md)."


def lack_labels(lines: list[tuple[int, str]], separator: str) -> bool:
    """Whether no line ends with something like a label, and another separator would not give every line one."""
    return not any(is_number(label_of(line, separator)) for _, line in lines) and not better_separator(lines, separator)


def better_separator(lines: list[tuple[int, str]], separator: str) -> str | None:
    """One of the usual separators by which every line has a label; None: no other than `separator` does it."""
    others = (other for other in SEPARATORS if other != separator)
    return next((other for other in others if all(is_whole(label_of(line, other)) for _, line in lines)), None)


def label_of(line: str, separator: str) -> str:
    """What follows the last separator, if something stands before it."""
    video, _, label = line.rpartition(separator)
    return label.strip() if video.strip() else ""


def what_is_wrong(line: str, lines: list[tuple[int, str]], separator: str) -> str:
    """What to say of a line that is no path and label."""
    shown, expected, typed = shortened(line), f"`path{separator}label`", SEPARATORS.get(separator, f'"{separator}"')
    better = better_separator(lines, separator)
    if better:
        return (
            f"{shown!r} has {SEPARATORS[better]} before its label and not {typed}, as every line has. "
            f"Set DATA.PATH_LABEL_SEPARATOR {SEPARATORS[better]}."
        )
    if lack_labels(lines, separator):
        return (
            f"{shown!r} has no label, nor has any other line. Write lines {expected}, or set DATA.PATH_LABEL_SEPARATOR "
            "to what stands before the labels. Without labels videos can be predicted (TRAIN.ENABLE False), no more."
        )
    label = label_of(line, separator)
    if not label:
        return f"{shown!r} is not {expected}. If something else stands before the label, set DATA.PATH_LABEL_SEPARATOR."
    return (
        f"label {shortened(label)!r} is not a whole number from 0. If something else than the line's last {typed} "
        "stands before the label, set DATA.PATH_LABEL_SEPARATOR."
    )


def refuse_stray_separator(entries: list[Entry], path: Path, separator: str) -> None:
    """Raises ListError if lines `a.mp4, 0` were split at the space: then every path ends with a comma."""
    for other in ",;" if separator == " " else "":
        if all(entry.path.endswith(other) for entry in entries):
            raise ListError(
                f"{path}:{entries[0].line}: path {shortened(entries[0].path)!r} ends with {SEPARATORS[other]}, as do "
                f"all. Set DATA.PATH_LABEL_SEPARATOR {SEPARATORS[other]}."
            )


def checked_label(text: str, num_classes: int, path: Path, line: int) -> int:
    """The label of whole digits, if there is such a class."""
    label = int(text)
    if label >= num_classes:
        raise ListError(
            f"{path}:{line}: label {shortened(text)} with MODEL.NUM_CLASSES {num_classes} (labels 0 to "
            f"{num_classes - 1}). Set MODEL.NUM_CLASSES to the number of classes, or correct the line."
        )
    return label


def is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def quoted(path: str) -> str:
    """A path as it must stand in a list to be read as it is."""
    return f'''"{path.replace('"', '""')}"''' if path != path.strip() or unquoted(path) != path else path


def unquoted(path: str) -> str:
    """The path that CSV quotes enclose (`"a ""b"".mp4"` is `a "b".mp4`); any other path is as it is.

    A path that begins with a quote but is not enclosed in CSV's way, such as `"a" b.mp4`, is a name with quotes in it.
    """
    if not path.startswith('"'):
        return path
    inner = path[1:-1]
    is_enclosed = len(path) > 1 and path.endswith('"') and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_enclosed else path


def join(prefix: str, path: str) -> str:
    return str(Path(prefix) / path) if prefix else path
