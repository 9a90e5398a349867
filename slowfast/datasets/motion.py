"""The embedded data set `motion`: real video files whose class is the motion, each written when it is first read.

What the clips show is in motion_scene.py. Here they become files (three quarters H.264 in MP4 with B-frames,
one quarter MPEG-4 in AVI), lists in the Kinetics format and `classes.json`; the same seed gives the same
bytes. `motion_hard` is the same in low contrast, noise and a moving background, for accuracy benchmarks.
"""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.lists import Entry
from slowfast.datasets.motion_scene import CLASSES, EASY, HARD, MotionStyle, render_clip, training_style
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.video_index import VideoError, VideoInfo, wording
from slowfast.utils.logging import logger

VERSION = 2  # raise it when the same parameters give other files: folders written before are then rewritten
COUNTS = {"train": 960, "val": 160, "test": 160}
FRAME_RATES = (12, 15, 20, 25, 30)
MANIFEST = "motion.json"
# At sizes this small x264's macroblock tree reads memory it never wrote: two encodings of the same frames
# differed in 1 of 3 runs. Without it they are equal.
H264 = {"preset": "veryfast", "tune": "fastdecode", "crf": "18", "g": "24", "bf": "2", "x264-params": "mbtree=0"}


class Planned(NamedTuple):
    """A video of the data set: where it belongs, its class, the seed from which it is drawn, and what for."""

    path: Path
    label: int
    seed: tuple[int, ...]
    training: bool


@DATASET_REGISTRY.register(name="motion")
class Motion(Kinetics):
    """The lists of DATA.PATH_TO_DATA_DIR, which are laid out there first, and their videos.

    The process that reads a video writes it where it is not there yet. So training begins at once, and the loader
    processes write beside it.
    """

    style = EASY
    counts = COUNTS

    def __init__(self, cfg, split: str):
        root = cfg.DATA.PATH_TO_DATA_DIR
        if not root:
            raise ValueError(
                "DATA.PATH_TO_DATA_DIR is empty. Set it to the folder that is to hold the data set motion."
            )
        expected, found = describe(root, self.style), read_manifest(Path(root))
        if found and found["version"] == VERSION and found["style"] != expected["style"]:
            raise FileExistsError(
                f"{root} holds the data set motion in another style ({found['style']}). "
                "Set DATA.PATH_TO_DATA_DIR to a folder of its own for each of motion and motion_hard."
            )
        # Any number of clips will do here, so that a smaller set for a quick look is not written over.
        if not is_laid_out(Path(root), expected):
            lay_out(root, self.style, self.counts)
        videos = plan(read_manifest(Path(root))).get(split, [])
        self.unwritten = {str(video.path): video for video in videos if not video.path.exists()}
        super().__init__(cfg, split)

    def info(self, entry: Entry) -> VideoInfo:
        self.provide(entry)
        return super().info(entry)

    def frames_of(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        self.provide(entry)
        return super().frames_of(entry, indices)

    def check(self, entry: Entry) -> None:
        """A video that is still to be written needs no trial."""
        if entry.path not in self.unwritten:
            super().check(entry)

    def provide(self, entry: Entry) -> None:
        """Writes the entry's video if it is not there yet.

        Raises:
            VideoError: it cannot be written.
        """
        if entry.path in self.unwritten:
            try:
                write_video(self.unwritten[entry.path], self.style)
            except OSError as error:
                raise VideoError(entry.path, f"cannot be written ({wording(error)})") from error
            del self.unwritten[entry.path]


@DATASET_REGISTRY.register(name="motion_hard")
class MotionHard(Motion):
    """`motion` in the harder style, in a folder of its own."""

    style = HARD


def write_motion(
    root: str | Path,
    *,
    style: MotionStyle = EASY,
    counts: dict[str, int] = COUNTS,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Writes all of the data set into folder `root` that is not there with these parameters; returns `root`.

    Safe to call from several processes at once, and while others read.

    Args:
        counts: clips per split; the classes take turns.
        workers: threads that draw and encode (both release Python's lock); None: one per core, at most 16.

    Raises:
        FileExistsError: `root` holds files that are not a `motion` data set.
    """
    lay_out(root, style, counts, seed)
    videos = chain.from_iterable(plan(read_manifest(Path(root))).values())
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        list(pool.map(partial(write_video, style=style), videos))
    return Path(root).absolute()


def lay_out(root: str | Path, style: MotionStyle, counts: dict[str, int], seed: int = 0) -> None:
    """The data set in folder `root` without its videos, unless it is there with these parameters.

    Safe to call from several processes at once: one writes, beside `root`, and renames; the others wait.

    Raises:
        FileExistsError: `root` holds files that are not a `motion` data set.
    """
    root = Path(root).absolute()
    manifest = describe(root, style) | {"counts": counts, "seed": seed}
    if is_laid_out(root, manifest):
        return
    if root.is_dir() and any(root.iterdir()) and not (root / MANIFEST).is_file():
        raise FileExistsError(
            f"{root} holds other files, and the data set motion is to be written there. "
            "Set DATA.PATH_TO_DATA_DIR to a folder that is empty or does not exist yet."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(root.parent / f".{root.name}.lock"):
        if not is_laid_out(root, manifest):  # else another process has done it meanwhile
            logger.info("Data set motion in %s: each video is written when it is first read", root)
            aside = root.parent / f".{root.name}.partial"
            shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
            aside.mkdir()
            write_lists(aside, manifest)
            shutil.rmtree(root, ignore_errors=True)
            aside.rename(root)


def write_lists(folder: Path, manifest: dict) -> None:
    """Into `folder`: what a manifest describes but for the videos."""
    for split, videos in plan(manifest).items():
        (folder / split).mkdir()
        (folder / f"{split}.csv").write_text("".join(f"{video.path} {video.label}\n" for video in videos))
    (folder / "classes.json").write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}, indent=1))
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


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


def is_laid_out(root: Path, expected: dict) -> bool:
    """Whether `root` has a manifest with these entries, and the lists."""
    manifest = read_manifest(root)
    if manifest is None or not expected.items() <= manifest.items():
        return False
    return all((root / f"{split}.csv").is_file() for split in manifest["counts"])


def read_manifest(root: Path) -> dict | None:
    """What `root` was written with; None where nothing was."""
    try:
        return json.loads((root / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def describe(root: str | Path, style: MotionStyle) -> dict:
    """Manifest entries that tell one data set from another, as they come back from JSON."""
    # The lists hold absolute paths, so a folder that was moved is written anew.
    entries = {"version": VERSION, "style": asdict(style), "root": str(Path(root).absolute())}
    return json.loads(json.dumps(entries))


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Waits until no other process holds the lock on file `path`; the system frees it if its holder dies."""
    import fcntl  # not on Windows, where importing this package should still work

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_video(video: Planned, style: MotionStyle) -> None:
    """Writes a video that is not there yet: whole or not at all, also when several processes write it."""
    if video.path.exists():
        return
    aside = video.path.with_name(f".{os.getpid()}.{video.path.name}")
    try:
        write_clip(aside, video, style)
        aside.replace(video.path)
    finally:
        aside.unlink(missing_ok=True)


def write_clip(path: Path, video: Planned, style: MotionStyle) -> None:
    """One clip, drawn from its seed alone, as an MP4 or AVI file by the ending of `path`."""
    rng = np.random.default_rng(video.seed)
    fps = int(rng.choice(FRAME_RATES))
    if video.training:
        style = training_style(rng, style)
    encode(path, render_clip(rng, video.label, style, fps), fps)


def encode(path: Path, frames: np.ndarray, fps: int) -> None:
    """Frames [T, H, W, 3] uint8 RGB into a file: H.264 with B-frames (.mp4) or MPEG-4 part 2 (.avi)."""
    codec, options = {
        ".mp4": ("libx264", H264),
        ".avi": ("mpeg4", {"qmin": "2", "qmax": "4", "g": "12"}),
    }[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # with more, the bytes could depend on the machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
