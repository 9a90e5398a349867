"""The embedded data set `motion`: real video files whose class is the motion, each written when it is first read.

What the clips show is in motion_scene.py. Here they become files (three quarters H.264 in MP4 with B-frames,
one quarter MPEG-4 in AVI), the same bytes for the same seed; motion_folder.py keeps their lists. `motion_hard` is
the same in low contrast, noise and a moving background, for accuracy benchmarks.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import av
import numpy as np

from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.lists import Entry
from slowfast.datasets.motion_folder import VERSION, Planned, describe, lay_out, plan, planned_videos, read_manifest
from slowfast.datasets.motion_scene import EASY, HARD, MotionStyle, render_clip, training_style
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.video_file import VideoError, url_of, wording
from slowfast.datasets.video_index import VideoInfo

COUNTS = {"train": 960, "val": 160, "test": 160}
FRAME_RATES = (12, 15, 20, 25, 30)
# At sizes this small x264's macroblock tree reads memory it never wrote: two encodings of the same frames
# differed in 1 of 3 runs. Without it they are equal.
H264 = {"preset": "veryfast", "tune": "fastdecode", "crf": "18", "g": "24", "bf": "2", "x264-params": "mbtree=0"}


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
        expected, found = describe(self.style), read_manifest(Path(root))
        if found and found["version"] == VERSION and found["style"] != expected["style"]:
            raise FileExistsError(
                f"{root} holds the data set motion in another style ({found['style']}). "
                "Set DATA.PATH_TO_DATA_DIR to a folder of its own for each of motion and motion_hard."
            )
        size = {"counts": self.counts, "seed": 0}
        if found and expected.items() <= found.items():
            # Any number of clips will do here, so that a smaller set for a quick look is not written over.
            size = {key: found[key] for key in size}
        videos = plan(lay_out(Path(root), expected | size)).get(split, [])
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
        FileExistsError, ValueError, OSError: as `lay_out`.
    """
    videos = planned_videos(lay_out(Path(root), describe(style) | {"counts": counts, "seed": seed}))
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        list(pool.map(partial(write_video, style=style), videos))
    return Path(root).absolute()


def write_video(video: Planned, style: MotionStyle) -> None:
    """Writes a video that is not there yet: whole or not at all, also when several processes write it."""
    if video.path.exists():
        return
    video.path.parent.mkdir(exist_ok=True)
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
    with av.open(url_of(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # with more, the bytes could depend on the machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
