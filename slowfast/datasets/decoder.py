"""Video files to frames: exactly the frames a full decode gives, converting only those asked for.

A file's packets are read once without decoding (its index). Where their timestamps can be trusted, decoding
starts at the keyframe before the first wanted frame and frames are told by their timestamps; where they
cannot (MPEG-4 with packed B-frames, missing or repeated timestamps), frames are counted from the start.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter


# One for the process: its conversion tables are kept from frame to frame.
REFORMATTER = VideoReformatter()


class VideoError(ValueError):
    """A video that cannot be read: `path`, `reason`, and `position` (frame number, None: nothing was read)."""

    def __init__(self, path: str, reason: str, position: int | None = None):
        self.path, self.reason, self.position = path, reason, position
        at = "" if position is None else f" at frame {position}"
        super().__init__(f"{path}: {reason}{at}")

    def __reduce__(self):
        return VideoError, (self.path, self.reason, self.position)


@dataclass(frozen=True)
class VideoInfo:
    """What a file's index tells: frames (counted, not the header's word) and their rate per second."""

    num_frames: int
    fps: float


@dataclass(frozen=True)
class Index:
    """Presentation timestamps of all frames in order, the keyframes' among them, and whether to trust them."""

    info: VideoInfo
    timestamps: np.ndarray
    keyframes: np.ndarray
    seekable: bool


def probe(path: str) -> VideoInfo:
    """Frames and rate of a video.

    Raises:
        VideoError: no such file, no video in it, or not a video.
    """
    return index_of(path).info


def read_frames(path: str, indices: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Frames `indices` [T] (any order, may repeat) of a video, uint8 RGB [T, H, W, 3] as displayed.

    Raises:
        VideoError: unreadable, or damaged before the last frame asked for.
    """
    indices = np.asarray(indices, dtype=np.int64)
    index = index_of(path)
    if indices.size == 0 or indices.min() < 0 or indices.max() >= index.info.num_frames:
        raise VideoError(path, f"frames {indices.tolist()} asked for, it has {index.info.num_frames}")
    wanted = np.unique(indices)
    images = {}
    with open_video(path) as (container, stream):
        stream.thread_count = threads
        stream.thread_type = "SLICE" if threads == 1 else "AUTO"
        number_frames = by_timestamp if index.seekable else by_counting
        try:
            for number, frame in number_frames(container, stream, index, wanted):
                images[number] = to_rgb(frame)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(path, f"damaged ({error})", len(images) and max(images) + 1) from error
    if len(images) < len(wanted):
        missing = next(number for number in wanted.tolist() if number not in images)
        raise VideoError(path, "the video ends or is damaged before the frames its index promises", missing)
    return np.stack([images[number] for number in indices.tolist()])


def by_timestamp(container, stream, index: Index, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decodes from the keyframe before the first wanted frame and yields the wanted ones with their numbers.

    Frames nothing refers to are not even decoded unless they are wanted.
    """
    times = index.timestamps
    number_of = {int(times[number]): number for number in wanted.tolist()}
    last = int(times[wanted[-1]])
    first_keyframe = index.keyframes[np.searchsorted(index.keyframes, times[wanted[0]], side="right") - 1]
    if first_keyframe > times[0]:
        container.seek(int(first_keyframe), stream=stream, backward=True, any_frame=False)
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = (
            "DEFAULT" if packet.pts is None or packet.pts in number_of else "NONREF"
        )
        for frame in packet.decode():
            if frame.pts in number_of:
                yield number_of.pop(frame.pts), frame
            if not number_of or frame.pts > last:
                return


def by_counting(container, stream, index: Index, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decodes from the start and yields the wanted frames with their numbers in presentation order."""
    left = set(wanted.tolist())
    for number, frame in enumerate(container.decode(stream)):
        if number in left:
            left.remove(number)
            yield number, frame
        if not left:
            return


def to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as uint8 [H, W, 3], turned as its display matrix says."""
    image = REFORMATTER.reformat(frame, format="rgb24", threads=1).to_ndarray()
    quarter_turns = round(getattr(frame, "rotation", 0) / 90)  # counter-clockwise, as np.rot90 counts
    return np.rot90(image, quarter_turns) if quarter_turns else image


@contextmanager
def open_video(path: str) -> Iterator[tuple]:
    """An open container and its first video stream; closed whatever happens."""
    try:
        container = av.open(path, metadata_errors="ignore")
    except TypeError:  # PyAV 19 dropped the argument and ignores such metadata itself
        container = open_container(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(path, reason_of(path, error)) from error
    try:
        if not container.streams.video:
            raise VideoError(path, "no video stream in it")
        yield container, container.streams.video[0]
    finally:
        container.close()


def open_container(path: str):
    try:
        return av.open(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(path, reason_of(path, error)) from error


def reason_of(path: str, error: Exception) -> str:
    file = Path(path)
    if not file.exists():
        return "no such file"
    if file.is_dir():
        return "a folder, not a video file"
    if file.stat().st_size == 0:
        return "an empty file"
    return f"not a readable video ({getattr(error, 'strerror', None) or error})"


@lru_cache(maxsize=4096)
def index_of(path: str) -> Index:
    """The index of a file, kept once read (8 bytes a frame)."""
    with open_video(path) as (container, stream):
        try:
            packets = [packet for packet in container.demux(stream) if packet.size]
        except av.FFmpegError as error:
            raise VideoError(path, f"damaged ({error})") from error
        fps = float(stream.average_rate or stream.guessed_rate or 30)
        seekable = has_trusted_timestamps(packets, stream.codec_context)
    shown = [packet.pts for packet in packets if not packet.is_discard]
    if seekable:
        keyframes = np.array(sorted(packet.pts for packet in packets if packet.is_keyframe), np.int64)
        return Index(VideoInfo(len(shown), fps), np.array(sorted(shown), np.int64), keyframes, True)
    num_frames = count_frames(path) if shown else 0
    if num_frames == 0:
        raise VideoError(path, "no frame in it")
    return Index(VideoInfo(num_frames, fps), np.zeros(0, np.int64), np.zeros(0, np.int64), False)


def has_trusted_timestamps(packets: list[av.Packet], codec: av.CodecContext) -> bool:
    """Whether each frame can be told by its timestamp after a seek."""
    times = [packet.pts for packet in packets]
    if not times or None in times or len(set(times)) < len(times):
        return False
    decode_times = [packet.dts for packet in packets if packet.dts is not None]
    if decode_times != sorted(decode_times):
        return False
    # MPEG-4 part 2 may hide B-frames in the packets of others (packed bitstream), which the index cannot show.
    hides_frames = codec.name.startswith(("mpeg4", "msmpeg4")) and codec.has_b_frames
    first_is_key = min(times) >= min(
        (packet.pts for packet in packets if packet.is_keyframe), default=math.inf
    )
    return first_is_key and not hides_frames


def count_frames(path: str) -> int:
    """Frames a full decode shows, up to damage."""
    count = 0
    with open_video(path) as (container, stream):
        try:
            for _ in container.decode(stream):
                count += 1
        except av.FFmpegError as error:
            if count == 0:
                raise VideoError(path, f"damaged ({error})", 0) from error
    return count
