"""Official annotations of known data sets: which videos are in which split, with which class.

One function a data set: its arguments are the command line's (prepare.py), its result `Lists`.
"""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slowfast.datasets.folders import is_hidden

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}


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
    labels = {name: int(number) - 1 for number, name in fields_of(args.annotations / "classInd.txt", 2)}
    splits = {}
    for split in ("train", "test"):
        lines = fields_of(args.annotations / f"{split}list{args.split:02d}.txt", 1)
        splits[split] = [Video(path, path.split("/")[0]) for path, *_ in lines]
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
        for video, use in fields_of(file, 2):
            if use in ("1", "2"):
                splits["train" if use == "1" else "test"].append(Video(f"{name}/{video}", name))
    return Lists(splits, alphabetical(video.name for videos in splits.values() for video in videos))


def kinetics(args) -> Lists:
    """{train,val}.csv with columns label, youtube_id, time_start, time_end; files anywhere under --root."""
    found = {path.stem: path for path in video_files(args.root)}
    splits = {}
    for split, names in {"train": ("train.csv",), "test": ("val.csv", "validate.csv", "validation.csv")}.items():
        rows = read_csv(first_file(args.annotations, names), ("label", "youtube_id", "time_start", "time_end"))
        splits[split] = []
        for row in rows:
            times = "_".join(f"{int(float(row[key])):06d}" for key in ("time_start", "time_end"))
            stems = (f"{row['youtube_id']}_{times}", row["youtube_id"])
            path = next((found[stem] for stem in stems if stem in found), Path(args.root, f"{stems[0]}.mp4"))
            splits[split].append(Video(str(path.relative_to(args.root)), row["label"]))
    return Lists(splits, alphabetical(video.name for videos in splits.values() for video in videos))


def ssv2(args) -> Lists:
    """labels.json and {train,validation}.json of Something-Something V2; ROOT/ID.webm, or folders ROOT/ID."""
    prefix = "something-something-v2-"
    labels = read_json(first_file(args.annotations, ("labels.json", f"{prefix}labels.json")))
    splits = {}
    for split, name in {"train": "train.json", "test": "validation.json"}.items():
        suffix = "" if args.frames else ".webm"
        splits[split] = [
            Video(f"{row['id']}{suffix}", row["template"].replace("[", "").replace("]", ""))
            for row in read_json(first_file(args.annotations, (name, prefix + name)))
        ]
    return Lists(splits, {name: int(label) for name, label in labels.items()})


def sthv1(args) -> Lists:
    """something-something-v1-{labels,train,validation}.csv (ID;class name); frame folders ROOT/ID."""
    args.frames = True
    prefix = "something-something-v1-"
    labels = [line for (line,) in fields_of(args.annotations / f"{prefix}labels.csv", 1, separator="\n")]
    splits = {}
    for split, name in {"train": "train", "test": "validation"}.items():
        splits[split] = [Video(*row) for row in fields_of(args.annotations / f"{prefix}{name}.csv", 2, separator=";")]
    return Lists(splits, {name: label for label, name in enumerate(labels)})


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
    raise PrepareError(f"No file {' or '.join(names)} in {where}. Set --annotations to the official annotations.")


def fields_of(path: Path, count: int, separator: str | None = None) -> list[list[str]]:
    """Fields of each line that is not blank, at least `count` of them."""
    rows = []
    for number, line in enumerate(first_file(path.parent, (path.name,)).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.strip().split(separator)
        if not line.strip():
            continue
        if len(fields) < count:
            raise PrepareError(f"{path}:{number}: {line!r} has not the {count} fields expected.")
        rows.append(fields)
    return rows


def read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise PrepareError(f"{path}:1: no column {missing[0]}; expected {', '.join(columns)}.")
    return rows


def read_json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise PrepareError(f"{path}:{error.lineno}: not valid json: {error.msg}.") from error
