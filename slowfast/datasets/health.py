"""What can be wrong with a data set as its lists and files stand: facts and findings, no printing."""

import gc
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.video_file import VideoError
from slowfast.utils.texts import read_json

EDGE_BYTES = 2**16
SAME_CONTENT = "the same content under two names"


class Finding(NamedTuple):
    """One problem: its kind, the list lines it concerns, and what is wrong."""

    problem: str
    where: str
    what: str


class Facts(NamedTuple):
    """Of one entry: error or None, frames, frames a second (None: unknown), short side, fingerprint of the content."""

    error: str | None
    num_frames: int
    fps: float | None
    short_side: int
    fingerprint: str


def examine(dataset: VideoDataset, jobs: int) -> list[Facts]:
    """Opens every entry of a data set and decodes its first and last frame, in `jobs` processes."""
    rows = range(dataset.num_videos)
    if jobs <= 1:
        return [examine_entry(dataset, row) for row in rows]
    with ProcessPoolExecutor(jobs, initializer=gc.freeze) as pool:  # see loader.begin_process
        return list(pool.map(examine_entry, [dataset] * len(rows), rows, chunksize=64))


def examine_entry(dataset: VideoDataset, row: int) -> Facts:
    entry = dataset.entries[row]
    try:
        info = dataset.info(entry)
        dataset.frames_of(entry, np.array([0, info.num_frames - 1]))
    except VideoError as error:
        return Facts(str(error), 0, None, 0, fingerprint(entry.path))
    return Facts(None, info.num_frames, info.fps, min(info.height, info.width), fingerprint(entry.path))


def fingerprint(path: str) -> str:
    """Of a file's size, first and last bytes; empty for folders and what is not there."""
    file = Path(path)
    if not file.is_file():
        return ""
    size = file.stat().st_size
    with open(file, "rb") as content:
        start = content.read(EDGE_BYTES)
        content.seek(max(0, size - EDGE_BYTES))
        return f"{size} {hashlib.sha256(start + content.read()).hexdigest()}"


def find_problems(datasets: dict[str, VideoDataset], facts: dict[str, list[Facts]]) -> list[Finding]:
    """Everything found in the lists of all splits and their files."""
    findings = []
    for split, dataset in datasets.items():
        findings += unreadable(dataset, facts[split]) + too_short(dataset, facts[split])
        findings += listed_twice(dataset) + same_content(dataset, facts[split])
    findings += shared_videos(datasets, facts) + label_problems(datasets)
    return findings


def unreadable(dataset: VideoDataset, facts: list[Facts]) -> list[Finding]:
    rows = [row for row, fact in enumerate(facts) if fact.error]
    return [Finding("cannot be read", place(dataset, row), facts[row].error) for row in rows]


def too_short(dataset: VideoDataset, facts: list[Facts]) -> list[Finding]:
    needed = min(dataset.num_frames, max((fact.num_frames for fact in facts), default=0))  # images have one frame
    rows = [row for row, fact in enumerate(facts) if not fact.error and fact.num_frames < needed]
    what = "{} frames, a clip has {}: its last frame is repeated"
    return [
        Finding("shorter than a clip", place(dataset, row), what.format(facts[row].num_frames, needed)) for row in rows
    ]


def listed_twice(dataset: VideoDataset) -> list[Finding]:
    return [
        Finding("listed twice", place(dataset, *rows), path)
        for path, rows in rows_by(entry.path for entry in dataset.entries).items()
        if len(rows) > 1
    ]


def same_content(dataset: VideoDataset, facts: list[Facts]) -> list[Finding]:
    groups = rows_by(fact.fingerprint for fact in facts)
    findings = []
    for content, rows in groups.items():
        paths = {dataset.entries[row].path for row in rows}
        if content and len(paths) > 1:
            labels = {dataset.entries[row].label for row in rows}
            also = ", with different labels" if len(labels) > 1 else ""
            findings.append(Finding(SAME_CONTENT + also, place(dataset, *rows), ", ".join(sorted(paths))))
    return findings


def shared_videos(datasets: dict[str, VideoDataset], facts: dict[str, list[Facts]]) -> list[Finding]:
    """Videos of one split that another has too, by path or content; equal val and test lists are one finding."""
    findings = []
    splits = list(datasets)
    for number, first in enumerate(splits):
        for second in splits[number + 1 :]:
            one, other = ({entry[:2] for entry in datasets[split].entries} for split in (first, second))
            if one == other:
                what = f"{len(one)} videos: what is chosen on {first} is chosen on {second}"
                findings.append(Finding(f"{first} equals {second}", str(datasets[second].list_path), what))
                continue
            known = {key: row for row, key in keys_of(datasets[first], facts[first])}
            for row, key in keys_of(datasets[second], facts[second]):
                if key in known:
                    where = f"{place(datasets[first], known[key])} and {place(datasets[second], row)}"
                    findings.append(Finding(f"in {first} and {second}", where, datasets[second].entries[row].path))
    return findings


def keys_of(dataset: VideoDataset, facts: list[Facts]) -> Iterable[tuple[int, str]]:
    """(row, what makes two entries the same video)."""
    return ((row, fact.fingerprint or dataset.entries[row].path) for row, fact in enumerate(facts))


def label_problems(datasets: dict[str, VideoDataset]) -> list[Finding]:
    """Classes without training videos, and labels that contradict the folders' names or classes.json."""
    trained = {entry.label for entry in datasets["train"].entries} if "train" in datasets else None
    by_folder: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    findings = []
    for split, dataset in datasets.items():
        labels = rows_by(entry.label for entry in dataset.entries)
        for label in sorted(labels.keys() - (labels.keys() if trained is None else trained)):
            what = f"{len(labels[label])} videos in {split}, none in train"
            findings.append(Finding("class without training videos", f"label {label}", what))
        for row, entry in enumerate(dataset.entries):
            by_folder[Path(entry.path).parent.name][entry.label].append(place(dataset, row))
    if all(has_folders_of_classes(dataset) for dataset in datasets.values()):
        findings += permuted_labels(by_folder, next(iter(datasets.values())).list_path.parent / "classes.json")
    return findings


def has_folders_of_classes(dataset: VideoDataset) -> bool:
    """Whether the folder of most videos tells their label, as in ROOT/CLASS/VIDEO."""
    labels: dict[str, Counter] = defaultdict(Counter)
    for entry in dataset.entries:
        labels[Path(entry.path).parent.name][entry.label] += 1
    usual = sum(max(counts.values()) for counts in labels.values())
    return len(labels) > 1 and 2 * usual > dataset.num_videos


def permuted_labels(by_folder: dict[str, dict[int, list[str]]], classes_path: Path) -> list[Finding]:
    findings = []
    for folder, labels in by_folder.items():
        if len(labels) > 1:
            where = " and ".join(places[0] for places in labels.values())
            what = f"videos in folder {folder} have labels {', '.join(map(str, sorted(labels)))}"
            findings.append(Finding("one folder, several labels", where, what))
    if classes_path.is_file():
        names = {plain(name): label for name, label in read_json(classes_path, "class names").items()}
        for folder, labels in by_folder.items():
            expected = names.get(plain(folder))
            for label in labels.keys() - {expected} if expected is not None else ():
                what = f"folder {folder} is class {expected} in classes.json, not {label}"
                findings.append(Finding("another label map", labels[label][0], what))
    return findings


def plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def label_order(dataset: VideoDataset) -> str:
    """Which of the known label maps the folders' names follow; empty where they are not classes' names."""
    folders = {entry.label: Path(entry.path).parent.name for entry in dataset.entries}
    names = [folders[label] for label in sorted(folders)]
    if len(set(names)) < len(names) or len(names) < 2:
        return ""
    if [plain(name) for name in names] == sorted(plain(name) for name in names):
        return "alphabetical"
    return "UniFormer's Kinetics-400" if plain(folders.get(0, "")) == "ridingabike" else "not alphabetical"


def statistics(dataset: VideoDataset, facts: list[Facts]) -> dict:
    """The split in numbers, of the videos that can be read."""
    readable = [fact for fact in facts if not fact.error]
    counts = Counter(entry.label for entry in dataset.entries)
    return {
        "videos": dataset.num_videos,
        "readable": len(readable),
        "classes": len(counts),
        "per class": span(counts.values()),
        "frames": span(fact.num_frames for fact in readable),
        "frames a second": span(fact.fps for fact in readable if fact.fps),
        "short side": span(fact.short_side for fact in readable),
        "labels": label_order(dataset),
    }


def span(values: Iterable[float]) -> str:
    """Least, median and greatest."""
    values = list(values)
    return " / ".join(f"{value:.4g}" for value in (min(values), median(values), max(values))) if values else ""


def place(dataset: VideoDataset, *rows: int) -> str:
    shown = ", ".join(str(dataset.entries[row].line) for row in rows[:5])
    return f"{dataset.list_path}:{shown}" + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def rows_by(keys: Iterable) -> dict:
    groups = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    return groups
