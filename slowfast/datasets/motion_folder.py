"""The folder of the embedded data set `motion`: its manifest, lists and classes.json. What others put there stays."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from slowfast.datasets.motion_scene import CLASSES, MotionStyle
from slowfast.utils.logging import logger
from slowfast.utils.texts import TextError, read_json

VERSION = 2  # raise it when the same parameters give other files: folders written before are then rewritten
MANIFEST = "motion.json"
SPLITS = ("train", "val", "test")
LOCK = ".motion.lock"
ELSEWHERE = "set DATA.PATH_TO_DATA_DIR to a folder that is empty or does not exist yet"


class Planned(NamedTuple):
    """A video of the data set: where it belongs, its class, the seed from which it is drawn, and what for."""

    path: Path
    label: int
    seed: tuple[int, ...]
    training: bool


def describe(style: MotionStyle) -> dict:
    """Manifest entries that tell one data set from another, as they come back from JSON."""
    return json.loads(json.dumps({"version": VERSION, "style": asdict(style)}))


def plan(manifest: dict) -> dict[str, list[Planned]]:
    """The videos of every split."""
    videos = {}
    for split_index, (split, count) in enumerate(manifest["counts"].items()):
        folder, seed = Path(manifest["root"]) / split, (manifest["seed"], split_index)
        names = [f"{i:05d}.{'avi' if i // len(CLASSES) % 4 == 3 else 'mp4'}" for i in range(count)]
        videos[split] = [
            Planned(folder / name, i % len(CLASSES), (*seed, i), split == "train") for i, name in enumerate(names)
        ]
    return videos


def planned_videos(manifest: dict) -> list[Planned]:
    """The videos of all splits."""
    return list(chain.from_iterable(plan(manifest).values()))


def lay_out(root: Path, expected: dict) -> dict:
    """The data set with the manifest entries `expected` in folder `root`, without its videos; its manifest.

    A data set with other entries is written anew: its own files go, all others stay. Safe to call from several
    processes at once (one writes, the others wait), and after one that was killed.

    Raises:
        FileExistsError: `root` holds files that are not a `motion` data set, or a list to be written anew was edited.
        ValueError: the manifest that is there cannot be used.
        OSError: the folder cannot be written.
    """
    root = root.absolute()
    if is_laid_out(root, expected):
        return read_manifest(root)
    refuse_other_files(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / LOCK):
            if not is_laid_out(root, expected):  # else another process has done it meanwhile
                write_folder(root, expected)
    except OSError as error:
        if error.errno is None:  # our own message
            raise
        raise OSError(
            f"The data set motion cannot be written in {root} ({error.strerror}: {error.filename}). "
            "Set DATA.PATH_TO_DATA_DIR to a folder that can be written."
        ) from error
    return read_manifest(root)


def is_laid_out(root: Path, expected: dict) -> bool:
    """Whether `root` has a manifest with these entries that was written for this folder, and its lists."""
    manifest = read_manifest(root)
    return fits(manifest, root, expected) and all((root / name).is_file() for name in texts_of(manifest))


def fits(manifest: dict | None, root: Path, expected: dict) -> bool:
    """Whether a manifest has these entries and was written for folder `root`, under whatever name of it."""
    return manifest is not None and expected.items() <= manifest.items() and leads_to(manifest["root"], root)


def leads_to(path: str, folder: Path) -> bool:
    try:
        return os.path.samefile(path, folder)
    except (OSError, ValueError):  # not there, or no path at all
        return False


def refuse_other_files(root: Path) -> None:
    """Raises FileExistsError if `root` holds files, hidden ones left aside, and is no `motion` data set."""
    others = root.is_dir() and [path for path in root.iterdir() if not path.name.startswith(".")]
    if others and read_manifest(root) is None:  # in this order: who writes the folder begins with the manifest
        raise FileExistsError(f"{root} holds other files, and the data set motion is to be written there; {ELSEWHERE}.")


def write_folder(root: Path, expected: dict) -> None:
    """What is missing in `root` of a data set with these entries, but for the videos; for the holder of its lock.

    Whenever the process dies, a list that is there is as the manifest that is there plans it.
    """
    manifest = read_manifest(root)
    if not fits(manifest, root, expected):
        found, manifest = manifest, expected | {"root": str(root)}
        if found is None:
            logger.info("Data set motion in %s: each video is written when it is first read", root)
        else:
            remove_own_files(root, found, manifest)
        write_whole(root / MANIFEST, json.dumps(manifest, indent=1))
    for name, text in texts_of(manifest).items():
        if not (root / name).exists():
            write_whole(root / name, text)


def texts_of(manifest: dict) -> dict[str, str]:
    """The lists and classes.json: file name -> content."""
    lists = {
        f"{split}.csv": "".join(f"{video.path} {video.label}\n" for video in videos)
        for split, videos in plan(manifest).items()
    }
    return lists | {"classes.json": json.dumps({name: i for i, name in enumerate(CLASSES)}, indent=1)}


def remove_own_files(root: Path, found: dict, manifest: dict) -> None:
    """Removes from `root` what manifest `found` plans: the lists, and the videos that `manifest` plans otherwise.

    Raises:
        FileExistsError: one of the lists is not as it was written, or a video or its folder is a link.
    """
    refuse_links(root, planned_videos(found | {"root": str(root)}))
    changed = ", ".join({"root": "place"}.get(key, key) for key in manifest if found[key] != manifest[key])
    texts = texts_of(found)
    for name in texts | texts_of(manifest):
        if (root / name).exists() and (name not in texts or (root / name).read_bytes() != texts[name].encode()):
            raise FileExistsError(
                f"{root / name} is not as the data set motion wrote it, and that data set is to be written anew there "
                f"(another {changed} than in {MANIFEST}). Move {name} to another place, or {ELSEWHERE}."
            )
    is_alike = all(found[key] == manifest[key] for key in ("version", "style"))
    kept = set(planned_videos(manifest)) if is_alike else set()
    # The folder may have been moved: its own files are where it is now.
    stale = [video.path for video in planned_videos(found | {"root": str(root)}) if video not in kept]
    stale = [path for path in stale if path.is_file()]
    logger.info(
        "Data set motion in %s is written anew (another %s): its lists, and %d of its videos when they are read",
        *(root, changed, len(stale)),
    )
    for path in (*(root / name for name in texts), *stale):
        path.unlink(missing_ok=True)


def refuse_links(root: Path, videos: list[Planned]) -> None:
    """Raises FileExistsError if videos lie behind a link: what it leads to was not written here."""
    places = {place for video in videos for place in (video.path.parent, video.path)}
    link = next((place for place in sorted(places) if place.is_symlink()), None)
    if link:
        raise FileExistsError(
            f"{link} is a link, and the data set motion is to be written anew in {root}. Remove it, or {ELSEWHERE}."
        )


def read_manifest(root: Path) -> dict | None:
    """What `root` was written with; None where nothing was.

    Raises:
        ValueError: it cannot be read, or is not as `lay_out` writes it.
    """
    path = root / MANIFEST
    try:
        manifest = read_json(path, "manifest")
    except TextError as error:
        if error.missing:
            return None
        raise ValueError(unusable(path, str(error))) from error
    if not is_manifest(manifest):
        raise ValueError(unusable(path, "entries are missing or of another kind"))
    return manifest


def is_manifest(content) -> bool:
    """Whether `plan` can follow it, to files within the folder."""
    if not isinstance(content, dict) or not {"version", "style", "root", "counts", "seed"} <= content.keys():
        return False
    counts, seed = content["counts"], content["seed"]
    if not isinstance(content["root"], str) or not isinstance(counts, dict) or not counts.keys() <= set(SPLITS):
        return False
    return all(type(number) is int and 0 <= number < 10**6 for number in (seed, *counts.values()))


def unusable(path: Path, why: str) -> str:
    return (
        f"{path} cannot be used ({why}); it says which files there belong to the data set motion. "
        f"Move the folder {path.parent} to another place, or {ELSEWHERE}."
    )


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all; for one process at a time."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Waits until no other process holds the lock on file `path`; the system frees it if its holder dies."""
    import fcntl  # not on Windows, where importing this package should still work

    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
