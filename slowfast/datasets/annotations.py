"""Official annotations of known data sets: which videos are in which split, with which class.

One function a data set: its arguments are the command line's (prepare.py), its result `Lists`.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slowfast.datasets.folders import is_hidden
from slowfast.datasets.lists import is_whole
from slowfast.utils.texts import read_json, read_lines, read_text, shortened

ADVICE = "Set --annotations to the official annotations."
VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}

UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # what no list holds: control characters, what is not Unicode


class PrepareError(ValueError):
    """Annotations or videos that do not make lists; the message says which file and what was expected."""


class Video(NamedTuple):
    """A video (or frame folder) relative to --root, and its class name."""

    path: str
    name: str


class Lists(NamedTuple):
    """Videos of each split, and the label of every class name; no "val" means the test videos again."""

    splits: dict[str, list[Video]]
    labels: dict[str, int]


def ucf101(args) -> Lists:
    """classInd.txt, {train,test}list0N.txt; labels as in classInd.txt, from 0."""
    index = args.annotations / "classInd.txt"
    classes = ((where, name, number) for where, (number, name) in fields_of(index, "NUMBER CLASS"))
    labels = labels_of(classes, ADVICE, first=1)
    splits = {}
    for split in ("train", "test"):
        lines = fields_of(args.annotations / f"{split}list{args.split:02d}.txt", "CLASS/VIDEO [NUMBER]")
        splits[split] = [Video(inside(path, where), path.split("/")[0]) for where, (path, *_) in lines]
    return Lists(splits, labels)


def hmdb51(args) -> Lists:
    """CLASS_test_splitN.txt with 1 (train), 2 (test) or 0 (unused) after each file name."""
    suffix = f"_test_split{args.split}.txt"
    files = sorted(args.annotations.glob(f"[!.]*{suffix}"))
    if not files:
        raise PrepareError(f"No file CLASS{suffix} in {args.annotations}. Set --annotations to the official splits.")
    splits = {"train": [], "test": []}
    for file in files:
        name = file.name.removesuffix(suffix)
        for where, (video, use) in fields_of(file, "VIDEO USE"):
            if use not in ("0", "1", "2"):
                raise PrepareError(f"{where}: {shortened(use)!r} is not 1 (train), 2 (test) or 0 (unused). {ADVICE}")
            if use != "0":
                splits["train" if use == "1" else "test"].append(Video(inside(f"{name}/{video}", where), name))
    return Lists(splits, alphabetical(video.name for videos in splits.values() for video in videos))


def kinetics(args) -> Lists:
    """{train,val}.csv with columns label, youtube_id, time_start, time_end; files anywhere under --root."""
    found = {path.stem: path for path in video_files(args.root)}
    splits = {}
    for split, names in {"train": ("train.csv",), "test": ("val.csv", "validate.csv", "validation.csv")}.items():
        rows = read_csv(first_file(args.annotations, names), ("label", "youtube_id", "time_start", "time_end"))
        splits[split] = []
        for where, row in rows:
            times = "_".join(f"{seconds_of(row[key], where, key):06d}" for key in ("time_start", "time_end"))
            video = inside(row["youtube_id"], where)
            stems = (f"{video}_{times}", video)
            path = next((found[stem] for stem in stems if stem in found), Path(args.root, f"{stems[0]}.mp4"))
            splits[split].append(Video(str(path.relative_to(args.root)), row["label"]))
    return Lists(splits, alphabetical(video.name for videos in splits.values() for video in videos))


def ssv2(args) -> Lists:
    """labels.json and {train,validation}.json of Something-Something V2; ROOT/ID.webm, or folders ROOT/ID."""
    prefix = "something-something-v2-"
    labels = read_labels(first_file(args.annotations, ("labels.json", f"{prefix}labels.json")), ADVICE)
    suffix = "" if args.frames else ".webm"
    splits = {}
    for split, name in {"train": "train.json", "test": "validation.json"}.items():
        splits[split] = []
        for where, row in read_records(first_file(args.annotations, (name, prefix + name)), ("id", "template")):
            label = row["template"].replace("[", "").replace("]", "")
            splits[split].append(Video(f"{inside(row['id'], where)}{suffix}", label))
    return Lists(splits, labels)


def sthv1(args) -> Lists:
    """something-something-v1-{labels,train,validation}.csv (ID;class name); frame folders ROOT/ID."""
    args.frames = True
    prefix = "something-something-v1-"
    names = fields_of(args.annotations / f"{prefix}labels.csv", "CLASS", separator="\n")
    labels = labels_of(((where, name, label) for label, (where, (name,)) in enumerate(names)), ADVICE)
    splits = {}
    for split, name in {"train": "train", "test": "validation"}.items():
        rows = fields_of(args.annotations / f"{prefix}{name}.csv", "ID;CLASS", separator=";")
        splits[split] = [Video(inside(video, where), name) for where, (video, name) in rows]
    return Lists(splits, labels)


# The protocols of Shahroudy et al. 2016, section 3.2: who is filmed, or by which camera, in training.
NTU_TRAINING = {
    "xsub": ("P", {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}),
    "xview": ("C", {2, 3}),
}


def ntu60(args) -> Lists:
    """Files named SsssCcccPpppRrrrAaaa*, of actions 1 to 60; --protocol xsub or xview."""
    letter, training = NTU_TRAINING[args.protocol]
    splits = {"train": [], "test": []}
    for path in video_files(args.root):
        parts = {part[0]: int(part[1:]) for part in re.findall(r"[SCPRA]\d{3}", path.stem)}
        if parts.keys() == set("SCPRA") and 1 <= parts["A"] <= 60:
            split = "train" if parts[letter] in training else "test"
            splits[split].append(Video(str(path.relative_to(args.root)), f"A{parts['A']:03d}"))
    return Lists(splits, {f"A{action:03d}": action - 1 for action in range(1, 61)})


def folder(args) -> Lists:
    """ROOT/CLASS/any/where/VIDEO; each class is split by --shares with a fixed seed."""
    by_class: dict[str, list[str]] = {}
    for path in video_files(args.root):
        relative = path.relative_to(args.root)
        if len(relative.parts) > 1:
            by_class.setdefault(relative.parts[0], []).append(str(relative))
    few = sorted(name for name, paths in by_class.items() if len(paths) < 3)
    if few or not by_class:
        what = f"class {few[0]} has {len(by_class[few[0]])}" if few else "there are none"
        raise PrepareError(f"Every class needs three videos or more in {args.root}/CLASS/; {what}.")
    splits = {"train": [], "val": [], "test": []}
    rng = np.random.default_rng(args.seed)
    for name in sorted(by_class):
        paths = rng.permutation(sorted(by_class[name])).tolist()
        sizes = [max(1, round(len(paths) * share)) for share in args.shares[1:]]
        while sum(sizes) >= len(paths):
            sizes[sizes.index(max(sizes))] -= 1
        for split, size in zip(("val", "test"), sizes, strict=True):
            splits[split] += [Video(paths.pop(), name) for _ in range(size)]
        splits["train"] += [Video(path, name) for path in paths]
    return Lists(splits, alphabetical(by_class))


DATASETS: dict[str, Callable[..., Lists]] = {
    function.__name__: function for function in (ucf101, hmdb51, kinetics, ssv2, sthv1, ntu60, folder)
}
# Videos in the published (train, test) lists.
PUBLISHED = {
    ("ucf101", 1): (9537, 3783),
    ("ucf101", 2): (9586, 3734),
    ("ucf101", 3): (9624, 3696),
    ("hmdb51", 1): (3570, 1530),
    ("hmdb51", 2): (3570, 1530),
    ("hmdb51", 3): (3570, 1530),
    ("ssv2", 1): (168913, 24777),
    ("sthv1", 1): (86017, 11522),
    ("ntu60", "xsub"): (40320, 16560),
    ("ntu60", "xview"): (37920, 18960),
}


def alphabetical(names) -> dict[str, int]:
    return {name: label for label, name in enumerate(sorted(set(names)))}


def video_files(root: Path) -> list[Path]:
    """Every video file under a folder in spelling order, but for hidden ones and those in hidden folders."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir())
    return sorted(path for path in found if not is_hidden(path.relative_to(root)))


def first_file(where: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (where / name).is_file():
            return where / name
    raise PrepareError(f"No file {' or '.join(names)} in {where}. {ADVICE}")


def fields_of(path: Path, form: str, separator: str | None = None) -> Iterable[tuple[str, list[str]]]:
    """(file:line, fields) of each line that is not blank; `form` names the fields, those in brackets may be missing."""
    most = len(form.split(separator))
    least = most - form.count("[")
    for number, line in read_lines(first_file(path.parent, (path.name,)), "annotations", ADVICE):
        fields = line.split(separator)
        if not least <= len(fields) <= most:
            raise PrepareError(f"{path}:{number}: {shortened(line)!r} is not `{form}`. {ADVICE}")
        yield f"{path}:{number}", fields


def read_csv(path: Path, columns: tuple[str, ...]) -> Iterable[tuple[str, dict[str, str]]]:
    """(file:line, row) of a csv file with a header; every row has something in each of `columns`."""
    rows = csv.DictReader(io.StringIO(read_text(path, "annotations", ADVICE)), strict=True)
    try:
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise PrepareError(f"{path}:1: no column {missing[0]}; expected {', '.join(columns)}. {ADVICE}")
        for row in rows:
            where = f"{path}:{rows.line_num}"
            refuse_gaps(row, columns, where)
            yield where, row
    except csv.Error as error:
        # Where the record begins: a quote that is not closed may take in all that follows.
        raise PrepareError(f"{path}:{rows.line_num + 1}: not valid csv: {error}. {ADVICE}") from error


def read_records(path: Path, keys: tuple[str, ...]) -> Iterable[tuple[str, dict[str, str]]]:
    """(file and record, record) of a json list of objects that have text at each of `keys`."""
    records = read_json(path, "annotations", ADVICE)
    if not isinstance(records, list):
        raise PrepareError(f"{path}: expected a json list of objects with {', '.join(keys)}. {ADVICE}")
    for number, record in enumerate(records, 1):
        where = f"{path}: record {number}"
        if not isinstance(record, dict):
            shown = shortened(repr(record))
            raise PrepareError(f"{where} is {shown} and not an object with {', '.join(keys)}. {ADVICE}")
        record = {key: str(value) if type(value) is int else value for key, value in record.items()}
        refuse_gaps(record, keys, where)
        yield where, record


def refuse_gaps(record: dict, keys: tuple[str, ...], where: str) -> None:
    """Raises PrepareError if a record does not have text that can be written, at each of `keys`."""
    for key in keys:
        value = record.get(key)
        if not isinstance(value, str) or not value.strip() or UNWRITABLE.search(value):
            what = f"{key} {shortened(repr(value))}" if value else f"no {key}"
            raise PrepareError(f"{where} has {what}; expected text at {', '.join(keys)}. {ADVICE}")


def read_labels(path: Path, advice: str) -> dict[str, int]:
    """Labels by name of a json object {class name: label}, or {label: class name} as some publish it."""
    content = read_json(path, "labels", advice)
    if not isinstance(content, dict):
        raise PrepareError(f"{path}: expected a json object {{class name: label}}. {advice}")
    if all(key.isdigit() for key in content) and all(isinstance(value, str) for value in content.values()):
        content = {name: label for label, name in content.items()}
    return labels_of(((str(path), name, label) for name, label in content.items()), advice)


def labels_of(classes: Iterable[tuple[str, str, object]], advice: str, first: int = 0) -> dict[str, int]:
    """Labels from 0 by class name, of (where it stands, name, number), numbers from `first`.

    Raises:
        PrepareError: no whole number, a name that cannot be written, or a name or number that is there twice.
    """
    labels: dict[str, int] = {}
    names: dict[int, str] = {}
    for where, name, number in classes:
        said, text = f"{where}: class {shortened(name)!r}", str(number)
        if isinstance(number, bool) or not is_whole(text) or len(text) > 9 or int(text) < first:
            raise PrepareError(f"{said} has label {shortened(text)!r}, no whole number from {first}. {advice}")
        if UNWRITABLE.search(name) or name in labels:
            raise PrepareError(f"{said} {'is there twice' if name in labels else 'has odd letters'}. {advice}")
        if int(text) in names:
            raise PrepareError(f"{said} has label {text}, which belongs to {shortened(names[int(text)])!r}. {advice}")
        names[int(text)], labels[name] = name, int(text) - first
    return labels


def seconds_of(text: str, where: str, column: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 10**6:
        raise PrepareError(f"{where}: {column} {shortened(text)!r} is no number of seconds. {ADVICE}")
    return int(seconds)


def inside(path: str, where: str) -> str:
    """The path of a video, if it stays within --root and is a name.

    Raises:
        PrepareError: it leads elsewhere.
    """
    if Path(path).is_absolute() or ".." in Path(path).parts or not Path(path).name or path.endswith("/"):
        raise PrepareError(f"{where}: {shortened(path)!r} is not the name of a video within --root. {ADVICE}")
    return path
