"""What a video file holds, read once without decoding: its frames' timestamps, keyframes, rate and size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import av
import numpy as np

# Metadata that is not UTF-8 (HMDB51) stops av.open, unless told so; PyAV 19 never reads it strictly.
OPEN_OPTIONS = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}

# What PyAV raises of damaged files; a stream that shows up in the middle is an IndexError.
DAMAGE = (av.FFmpegError, ValueError, IndexError)


class VideoError(ValueError):
    """A video that cannot be read: `path`, `reason`, and `position` (frames before it are readable), or None."""

    def __init__(self, path: str, reason: str, position: int | None = None):
        self.path, self.reason, self.position = path, reason, position
        at = "" if position is None else f" at frame {position}"
        super().__init__(f"{path}: {reason}{at}")

    def __reduce__(self):
        return VideoError, (self.path, self.reason, self.position)


@dataclass(frozen=True)
class VideoInfo:
    """Frames (counted, not the header's word), their rate per second (None: unknown), size before any rotation."""

    num_frames: int
    fps: float | None
    height: int
    width: int


@dataclass(frozen=True)
class Index:
    """Presentation timestamps of all frames in order and those of keyframes; empty where they cannot be trusted."""

    info: VideoInfo
    timestamps: np.ndarray
    keyframes: np.ndarray

    @property
    def seekable(self) -> bool:
        return len(self.keyframes) > 0


@contextmanager
def open_video(path: str, threads: int = 1) -> Iterator[tuple]:
    """An open container and its main video stream; closed whatever happens, for containers leak otherwise."""
    try:
        container = av.open(path, **OPEN_OPTIONS)
    except (*DAMAGE, OSError) as error:
        raise VideoError(path, f"not a readable video ({wording(error)})") from error
    try:
        stream = container.streams.best("video")  # not a cover picture
        if stream is None:
            raise VideoError(path, "no video stream in it")
        if stream.codec_context is None:
            raise VideoError(path, "damaged, or of a codec that FFmpeg does not know")
        if threads != 1:
            stream.thread_type = "AUTO"
        stream.thread_count = threads
        yield container, stream
    finally:
        container.close()


def wording(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def index_of(path: str) -> Index:
    """The index of a file, kept once read, and read again when the file has changed.

    Raises:
        VideoError: as `probe`.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoError(path, wording(error)) from error
    if status.st_size == 0:
        raise VideoError(path, "an empty file")
    return read_index(path, status.st_mtime_ns, status.st_size)


class Timing(NamedTuple):
    """What the index needs of a packet, without its bytes: of a long video they would not fit into memory."""

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_discard: bool


@lru_cache(maxsize=16384)  # 2.5 KB for a video of 300 frames, 40 MB in all
def read_index(path: str, mtime_ns: int, size: int) -> Index:
    """The index of a file of this age and size."""
    with open_video(path) as (container, stream):
        codec = stream.codec_context
        try:
            packets = [Timing(p.pts, p.dts, p.is_keyframe, p.is_discard) for p in container.demux(stream) if p.size]
        except DAMAGE as error:
            raise VideoError(path, f"damaged ({wording(error)})") from error
        fps = float(stream.average_rate or stream.guessed_rate or 30)
        height, width = codec.height, codec.width
        seekable = has_trusted_timestamps(packets, codec)
    shown = [packet.pts for packet in packets if not packet.is_discard]
    num_frames = len(shown) if seekable else count_frames(path)
    if num_frames == 0:
        raise VideoError(path, "no frame in it")
    keyframes = [packet.pts for packet in packets if packet.is_keyframe]
    info = VideoInfo(num_frames, fps, height, width)
    return Index(info, *(np.array(sorted(times) if seekable else [], np.int64) for times in (shown, keyframes)))


def has_trusted_timestamps(packets: list[Timing], codec: av.CodecContext) -> bool:
    """Whether each frame can be told by its timestamp after a seek."""
    times = [packet.pts for packet in packets]
    if not times or None in times or len(set(times)) < len(times):
        return False
    decode_times = [packet.dts for packet in packets if packet.dts is not None]
    if decode_times != sorted(decode_times):
        return False
    # AVI has no presentation times: B-frames come with those of decoding, or packed with their neighbours.
    reorders_unseen = codec.has_b_frames and times == sorted(times)
    packs_frames = codec.has_b_frames and codec.name.startswith(("mpeg4", "msmpeg4"))
    keyframes = [packet.pts for packet in packets if packet.is_keyframe]
    starts_at_keyframe = bool(keyframes) and min(times) >= min(keyframes)
    return starts_at_keyframe and not reorders_unseen and not packs_frames


def count_frames(path: str) -> int:
    """Frames a full decode shows, up to damage."""
    count = 0
    with open_video(path) as (container, stream):
        try:
            for _ in container.decode(stream):
                count += 1
        except DAMAGE as error:
            if count == 0:
                raise VideoError(path, f"damaged ({wording(error)})", 0) from error
    return count
