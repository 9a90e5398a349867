"""The embedded data set `motion`: real video files whose class is the motion, written on first use.

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
from pathlib import Path

import av
import numpy as np

from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.motion_scene import CLASSES, EASY, HARD, MotionStyle, render_clip
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.utils.logging import logger

VERSION = 1  # raise it when the same parameters give other files: folders written before are then rewritten
COUNTS = {"train": 960, "val": 160, "test": 160}
FRAME_RATES = (12, 15, 20, 25, 30)
MANIFEST = "motion.json"
# At sizes this small x264's macroblock tree reads memory it never wrote: two encodings of the same frames
# differed in 1 of 3 runs. Without it they are equal.
H264 = {"preset": "veryfast", "tune": "fastdecode", "crf": "18", "g": "24", "bf": "2", "x264-params": "mbtree=0"}


@DATASET_REGISTRY.register(name="motion")
class Motion(Kinetics):
    """DATA.PATH_TO_DATA_DIR as `write_motion` leaves it; written there first where it is not yet."""

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
        if not is_complete(Path(root), expected):
            write_motion(root, style=self.style, counts=self.counts)
        super().__init__(cfg, split)


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
    """Writes the data set into folder `root`, unless it is there with these parameters; returns `root`.

    Safe to call from several processes at once: one writes, beside `root`, and renames; the others wait.

    Args:
        counts: clips per split; the classes take turns.
        workers: threads that draw and encode (both release Python's lock); None: one per core, at most 16.

    Raises:
        FileExistsError: `root` holds files that are not a `motion` data set.
    """
    root = Path(root).absolute()
    manifest = describe(root, style) | {"counts": counts, "seed": seed}
    if is_complete(root, manifest):
        return root
    if root.is_dir() and any(root.iterdir()) and not (root / MANIFEST).is_file():
        raise FileExistsError(
            f"{root} holds other files, and the data set motion is to be written there. "
            "Set DATA.PATH_TO_DATA_DIR to a folder that is empty or does not exist yet."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(root.parent / f".{root.name}.lock"):
        if not is_complete(root, manifest):  # else another process has written it meanwhile
            logger.info("Writing the data set motion, %d clips, to %s", sum(counts.values()), root)
            partial = root.parent / f".{root.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir()
            try:
                write_files(partial, root, style, counts, seed, workers)
                (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
                shutil.rmtree(root, ignore_errors=True)
                partial.rename(root)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return root


def is_complete(root: Path, expected: dict) -> bool:
    """Whether `root` has a manifest with these entries, the lists, and as many videos as it says."""
    manifest = read_manifest(root)
    if manifest is None or not expected.items() <= manifest.items():
        return False
    lists = all((root / f"{split}.csv").is_file() for split in manifest["counts"])
    return lists and sum(1 for _ in root.glob("*/*")) == sum(manifest["counts"].values())


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


def write_files(
    folder: Path, root: Path, style: MotionStyle, counts: dict[str, int], seed: int, workers: int | None
) -> None:
    """Videos, lists (with their paths in `root`) and classes.json into `folder`."""
    jobs = []
    for split_index, (split, count) in enumerate(counts.items()):
        (folder / split).mkdir()
        names = [f"{split}/{i:05d}.{'avi' if i // len(CLASSES) % 4 == 3 else 'mp4'}" for i in range(count)]
        jobs += [(folder / name, i % len(CLASSES), (seed, split_index, i)) for i, name in enumerate(names)]
        lines = [f"{root / name} {i % len(CLASSES)}\n" for i, name in enumerate(names)]
        (folder / f"{split}.csv").write_text("".join(lines))
    (folder / "classes.json").write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}, indent=1))
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda job: write_clip(*job, style), jobs))


def write_clip(path: Path, label: int, seed: tuple[int, ...], style: MotionStyle) -> None:
    """One clip, drawn from `seed` alone, as an MP4 or AVI file by the ending of `path`."""
    rng = np.random.default_rng(seed)
    fps = int(rng.choice(FRAME_RATES))
    encode(path, render_clip(rng, label, style, fps), fps)


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
