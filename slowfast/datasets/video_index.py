"""What a video file holds, read once without decoding: its frames' timestamps, keyframes, rate and size."""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import av
import numpy as np

from slowfast.datasets.video_file import DAMAGE, VideoError, decoding_error, open_video, wording

RATE_TOLERANCE = 0.005  # of a header's frame rate: timestamps of a short clip in milliseconds are not closer
FASTEST = 1000.0  # frames a second; from here on a header counts ticks of a clock, not frames
JUMP = 100  # usual steps from a frame to the next; a longer one is no pause
UNKNOWN = 30.0  # frames a second, where nothing tells them


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


def index_of(path: str) -> Index:
    """The index of a file, kept once read, and read again when the file has changed.

    Raises:
        VideoError: as `probe`.
    """
    return read_index(path, *age_and_size(path))


def age_and_size(path: str) -> tuple[int, int]:
    """A file's time of change in nanoseconds, and its bytes: others when it has changed.

    Raises:
        VideoError: it is not there, or empty.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoError(path, wording(error)) from error
    if status.st_size == 0:
        raise VideoError(path, "an empty file")
    return status.st_mtime_ns, status.st_size


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
            raise decoding_error(path, error) from error
        has_times = any(packet.dts is not None for packet in packets)
        header, tick = header_rate(stream, has_times), float(stream.time_base)
        size = (codec.height, codec.width) if codec.width else first_size(path)
        seekable = has_trusted_timestamps(packets, codec)
    shown = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)
    num_frames = len(shown) if seekable else count_frames(path)
    if num_frames == 0:
        raise VideoError(path, "no frame in it")
    # Of frames that are told in the wrong order the first and the last time are right.
    fps = frame_rate(header, shown if has_distinct_times(packets) else [], decode_times_of(packets), tick)
    keyframes = sorted(packet.pts for packet in packets if packet.is_keyframe) if seekable else []
    shown = shown if seekable else []
    return Index(VideoInfo(num_frames, fps, *size), np.array(shown, np.int64), np.array(keyframes, np.int64))


def first_size(path: str) -> tuple[int, int]:
    """Height and width of the first frame, where nothing before it tells them.

    Raises:
        VideoError: it cannot be decoded.
    """
    with open_video(path) as (container, stream):
        try:
            frame = next(container.decode(stream), None)
        except DAMAGE as error:
            raise decoding_error(path, error, 0) from error
    if frame is None:
        raise VideoError(path, "no frame in it")
    return frame.height, frame.width


def header_rate(stream, has_times: bool) -> float | None:
    """Frames a second by the header or FFmpeg's guess; None where these count ticks of a clock, or nothing."""
    rates = [stream.average_rate, stream.guessed_rate]
    if not has_times:  # of a raw stream FFmpeg's average is always 25
        rates.insert(0, stream.codec_context.framerate)
    return next((float(rate) for rate in rates if rate and rate < FASTEST), None)


def frame_rate(header: float | None, shown: list[int], decoded: list[int], tick: float) -> float:
    """Frames a second: the header's, unless the times at which frames are shown say another.

    Headers of Matroska may hold any number. But one that agrees is exact where timestamps are rounded, so that clips
    do not depend on the container.

    Args:
        shown: presentation times in ticks, in order; empty where they cannot be trusted.
        decoded: decoding times in ticks.
        tick: in seconds.
    """
    by_time, by_decoding = pace_of(shown), pace_of(decoded)
    if by_time is None or header is None:
        told = by_time if by_time or header else by_decoding
        return told.steps / (told.ticks * tick) if told else header or UNKNOWN
    # A cut may take away frames between those shown last. The times of decoding then have no holes.
    is_even = np.ptp(np.diff(decoded)) <= 1 if by_decoding else False
    paces = (by_time, by_decoding) if is_even else (by_time,)
    return header if any(agrees(header, pace, tick) for pace in paces) else by_time.steps / (by_time.ticks * tick)


class Pace(NamedTuple):
    """Steps from one frame to the next, and how many ticks they take together."""

    steps: int
    ticks: int


def pace_of(times: list[int]) -> Pace | None:
    """The pace of times in order, without jumps of the clock (broadcasts, joined files); None of less than two."""
    steps = np.diff(times)
    steps = steps[steps <= JUMP * np.median(steps)] if len(steps) else steps
    return Pace(len(steps), int(steps.sum())) if steps.sum() > 0 else None


def agrees(header: float, pace: Pace, tick: float) -> bool:
    """Whether a header's rate is that of a pace, whose first and last time are rounded to ticks."""
    promised = pace.steps / header / tick
    return abs(pace.ticks - promised) <= max(1.0, RATE_TOLERANCE * promised)


def has_trusted_timestamps(packets: list[Timing], codec: av.CodecContext) -> bool:
    """Whether each frame can be told by its timestamp after a seek."""
    if not has_distinct_times(packets):
        return False
    times = [packet.pts for packet in packets]
    # AVI has no presentation times: B-frames come with those of decoding, or packed with their neighbours.
    reorders_unseen = codec.has_b_frames and times == sorted(times)
    packs_frames = codec.has_b_frames and codec.name.startswith(("mpeg4", "msmpeg4"))
    keyframes = [packet.pts for packet in packets if packet.is_keyframe]
    starts_at_keyframe = bool(keyframes) and min(times) >= min(keyframes)
    return starts_at_keyframe and not reorders_unseen and not packs_frames


def has_distinct_times(packets: list[Timing]) -> bool:
    """Whether every frame has a time of its own, and those of decoding go forward."""
    times, decode_times = [packet.pts for packet in packets], decode_times_of(packets)
    return bool(times) and None not in times and len(set(times)) == len(times) and decode_times == sorted(decode_times)


def decode_times_of(packets: list[Timing]) -> list[int]:
    return [packet.dts for packet in packets if packet.dts is not None]


def count_frames(path: str) -> int:
    """Frames a full decode shows, up to damage."""
    count = 0
    with open_video(path) as (container, stream):
        try:
            for _ in container.decode(stream):
                count += 1
        except DAMAGE as error:
            if count == 0:
                raise decoding_error(path, error, 0) from error
    return count
