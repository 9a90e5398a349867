"""Video files to frames: exactly the frames a full decode gives, converting only those asked for.

A file's packets are read once without decoding (its index). Where their timestamps can be trusted, decoding
starts at the keyframe before the first wanted frame and frames are told by their timestamps. Where they cannot
(packed B-frames, missing or repeated timestamps), or where a seek does not arrive or loses a wanted frame,
frames are counted from the start: slower, and right by definition.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
from av.video.reformatter import VideoReformatter

PYAV = int(av.__version__.split(".")[0])
# Metadata that is not UTF-8 (HMDB51) stops av.open, unless told so; PyAV 19 never reads it strictly.
OPEN_OPTIONS = {} if PYAV >= 19 else {"metadata_errors": "ignore"}
REFORMAT_OPTIONS = {"threads": 1} if PYAV >= 17 else {}
# Decoders that obey a `skip_frame` that changes between packets; dav1d reads it once.
SKIPPING_CODECS = ("h264", "hevc")


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
    """Frames (counted, not the header's word), their rate per second, and their size before any rotation."""

    num_frames: int
    fps: float
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


def probe(path: str) -> VideoInfo:
    """Frames, rate and size of a video.

    Raises:
        VideoError: no such file, no video in it, or not a video.
    """
    return index_of(path).info


def read_frames(path: str, indices: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Frames `indices` [T] (any order, may repeat) of a video, uint8 RGB [T, H, W, 3] as displayed.

    Raises:
        VideoError: unreadable, or damaged at or before a frame asked for.
    """
    indices = np.asarray(indices, dtype=np.int64)
    index = index_of(path)
    if indices.size == 0 or indices.min() < 0 or indices.max() >= index.info.num_frames:
        raise VideoError(path, f"frames {indices.tolist()} asked for, it has {index.info.num_frames}")
    wanted = np.unique(indices)
    images = decode_from_keyframe(path, index, wanted, threads) if index.seekable else {}
    if len(images) < len(wanted):
        images = decode_from_start(path, wanted, threads)
    if len({image.shape for image in images.values()}) > 1:
        raise VideoError(path, "its frames change size on the way")
    return np.stack([images[number] for number in indices.tolist()])


def decode_from_keyframe(path: str, index: Index, wanted: np.ndarray, threads: int) -> dict[int, np.ndarray]:
    """Images of the wanted frames by number, told by timestamp; some are missing if this file's seeking fails."""
    times, images = index.timestamps, {}
    number_of = {int(times[number]): number for number in wanted.tolist()}
    keyframe = int(index.keyframes[np.searchsorted(index.keyframes, times[wanted[0]], side="right") - 1])
    reformatter = VideoReformatter()
    with open_video(path, threads) as (container, stream):
        try:
            if keyframe > times[0]:
                container.seek(keyframe, stream=stream, backward=True, any_frame=False)
            previous = None
            for frame in decode_wanted(container, stream, keyframe, number_of):
                is_reordered = previous is not None and frame.pts <= previous  # and the container hides it
                # What is concealed in a corrupt frame depends on which others were decoded.
                if is_reordered or frame.is_corrupt:
                    return {}
                previous = frame.pts
                if frame.pts in number_of:
                    images[number_of[frame.pts]] = to_rgb(frame, reformatter)
                    if len(images) == len(wanted):
                        break
        except (av.FFmpegError, ValueError):
            pass  # damage: decoding from the start tells where
    return images


def decode_wanted(container, stream, keyframe: int, wanted: dict[int, int]) -> Iterator[av.VideoFrame]:
    """Frames from the current position, which must be a keyframe up to timestamp `keyframe`, else none.

    Frames that no other refers to are not decoded unless their timestamp is in `wanted`.
    """
    last = max(wanted)
    can_skip = stream.codec_context.name in SKIPPING_CODECS
    for number, packet in enumerate(container.demux(stream)):
        # Formats without an index of their own (MPEG-TS and PS) seek to about the right place only.
        if number == 0 and not (packet.is_keyframe and packet.pts is not None and packet.pts <= keyframe):
            return
        if can_skip:
            is_needed = packet.pts is None or packet.pts in wanted
            stream.codec_context.skip_frame = "DEFAULT" if is_needed else "NONREF"
        for frame in packet.decode():
            if frame.pts is None or frame.pts > last:
                return
            yield frame


def decode_from_start(path: str, wanted: np.ndarray, threads: int) -> dict[int, np.ndarray]:
    """Images of the wanted frames by number, counted in presentation order.

    Raises:
        VideoError: the video is damaged or ends before the last of them.
    """
    left, images, count = set(wanted.tolist()), {}, 0
    reformatter = VideoReformatter()
    with open_video(path, threads) as (container, stream):
        try:
            for frame in container.decode(stream):
                if count in left:
                    images[count] = to_rgb(frame, reformatter)
                count += 1
                if len(images) == len(left):
                    return images
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(path, f"damaged ({wording(error)})", count) from error
    raise VideoError(path, "it ends before the frames its index promises", count)


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """A decoded frame as uint8 [H, W, 3], turned as its display matrix says.

    A reformatter serves one video: before PyAV 17 it carries the colour range of one over to the next.
    """
    image = reformatter.reformat(frame, format="rgb24", **REFORMAT_OPTIONS).to_ndarray()
    turns = quarter_turns(frame)
    return np.rot90(image, turns) if turns else image


def quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns of a frame's display matrix (`frame.rotation`, which PyAV 14 has not)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0
    x, y = np.frombuffer(matrix, np.int32)[:2].tolist()  # its first row, scaled by 2 ** 16
    return round(-math.degrees(math.atan2(y, x)) / 90)


@contextmanager
def open_video(path: str, threads: int = 1) -> Iterator[tuple]:
    """An open container and its main video stream; closed whatever happens, for containers leak otherwise."""
    try:
        container = av.open(path, **OPEN_OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(path, f"not a readable video ({wording(error)})") from error
    try:
        stream = container.streams.best("video")  # not a cover picture
        if stream is None:
            raise VideoError(path, "no video stream in it")
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


@lru_cache(maxsize=16384)  # 2.5 KB for a video of 300 frames, 40 MB in all
def read_index(path: str, mtime_ns: int, size: int) -> Index:
    """The index of a file of this age and size."""
    with open_video(path) as (container, stream):
        codec = stream.codec_context
        try:
            packets = [packet for packet in container.demux(stream) if packet.size]
        except av.FFmpegError as error:
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


def has_trusted_timestamps(packets: list[av.Packet], codec: av.CodecContext) -> bool:
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
        except av.FFmpegError as error:
            if count == 0:
                raise VideoError(path, f"damaged ({wording(error)})", 0) from error
    return count
