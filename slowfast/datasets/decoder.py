"""Video files to frames: exactly the frames a full decode gives, converting only those asked for.

A file's packets are read once without decoding (its index). Where their timestamps can be trusted, decoding
starts at the keyframe before the first wanted frame and frames are told by their timestamps. Where they cannot
(packed B-frames, missing or repeated timestamps), or where a seek does not arrive or loses a wanted frame,
frames are counted from the start: slower, and right by definition.
"""

import threading
from collections.abc import Iterator
from functools import cache, lru_cache

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from slowfast.datasets.orientation import UPRIGHT, Orientation, as_displayed, orientation_of
from slowfast.datasets.transform import short_side_size
from slowfast.datasets.video_file import DAMAGE, VideoError, decoding_error, open_video
from slowfast.datasets.video_index import Index, VideoInfo, age_and_size, index_of

PYAV = int(av.__version__.split(".")[0])
REFORMAT_OPTIONS = {"threads": 1} if PYAV >= 17 else {}
# Decoders that obey a `skip_frame` that changes between packets; dav1d reads it once.
SKIPPING_CODECS = ("h264", "hevc")


def probe(path: str) -> VideoInfo:
    """Frames, rate and size of a video.

    Raises:
        VideoError: no such file, no video in it, or not a video.
    """
    return index_of(path).info


def read_frames(path: str, indices: np.ndarray, *, short_side: int = 0, threads: int = 1) -> np.ndarray:
    """Frames `indices` [T] (any order, may repeat) of a video, uint8 RGB [T, H, W, 3] as displayed.

    Frames whose short side is longer than `short_side` (if that is not 0) are shrunk to it as they are converted.

    Raises:
        VideoError: unreadable, or damaged at or before a frame asked for.
    """
    indices = np.asarray(indices, dtype=np.int64)
    index = index_of(path)
    if indices.size == 0 or indices.min() < 0 or indices.max() >= index.info.num_frames:
        raise VideoError(path, f"frames {indices.tolist()} asked for, it has {index.info.num_frames}")
    wanted, places = np.unique(indices, return_inverse=True)
    clip = Clip(path, wanted, short_side)
    if index.seekable:
        decode_from_keyframe(index, clip, threads)
    if not clip.is_complete:
        clip = Clip(path, wanted, short_side)
        decode_from_start(clip, threads)
    return clip.images if len(wanted) == len(indices) and (np.diff(places) > 0).all() else clip.images[places]


def display_orientation(path: str) -> Orientation:
    """How a video is shown, by its first frame; kept once read, until the file changes.

    Raises:
        VideoError: as `read_frames`.
    """
    return read_orientation(path, *age_and_size(path))


@lru_cache(maxsize=16384)
def read_orientation(path: str, mtime_ns: int, size: int) -> Orientation:
    """The orientation of a file of this age and size."""
    clip = Clip(path, np.zeros(1, np.int64), 0)
    decode_from_start(clip, 1)
    return clip.orientation


class Clip:
    """The wanted frames of a video, numbered from its start in `wanted` [T], as they come out of its decoder."""

    def __init__(self, path: str, wanted: np.ndarray, short_side: int):
        self.path, self.wanted, self.short_side = path, wanted, short_side
        self.place_of = {number: place for place, number in enumerate(wanted.tolist())}
        self.missing = set(self.place_of)
        self.images: np.ndarray | None = None  # [T, H, W, 3]
        self.orientation = UPRIGHT
        # Before PyAV 17 one carries the colour range of a video over to the next.
        self.reformatter = reformatter_of(threading.get_ident()) if PYAV >= 17 else VideoReformatter()

    @property
    def is_complete(self) -> bool:
        return not self.missing

    def add(self, number: int, frame: av.VideoFrame) -> None:
        """Converts frame `number`, straight into its place.

        Raises:
            VideoError: its size is another than that of the frames before.
        """
        image = to_rgb(frame, self.reformatter, self.short_side)
        if self.images is None:
            self.orientation = orientation_of(frame)
        image = as_displayed(image, self.orientation)
        if self.images is None:
            self.images = np.empty((len(self.wanted), *image.shape), np.uint8)
        if image.shape != self.images.shape[1:]:
            raise VideoError(self.path, "its frames change size on the way")
        self.images[self.place_of[number]] = image
        self.missing.discard(number)


@cache
def reformatter_of(thread: int) -> VideoReformatter:
    """One of each thread's own, for making them takes longer than using them."""
    return VideoReformatter()


def decode_from_keyframe(index: Index, clip: Clip, threads: int) -> None:
    """Fills the clip with frames told by timestamp; leaves some out if this file's seeking fails."""
    times, wanted = index.timestamps, clip.wanted
    number_of = {int(times[number]): number for number in wanted.tolist()}
    keyframe = int(index.keyframes[np.searchsorted(index.keyframes, times[wanted[0]], side="right") - 1])
    with open_video(clip.path, threads) as (container, stream):
        try:
            if keyframe > times[0]:
                container.seek(keyframe, stream=stream, backward=True, any_frame=False)
            previous = None
            for frame in decode_wanted(container, stream, keyframe, number_of):
                is_reordered = previous is not None and frame.pts <= previous  # and the container hides it
                # What is concealed in a corrupt frame depends on which others were decoded.
                if is_reordered or frame.is_corrupt:
                    clip.missing.add(int(wanted[0]))
                    return
                previous = frame.pts
                if frame.pts in number_of:
                    clip.add(number_of[frame.pts], frame)
                    if clip.is_complete:
                        return
        except DAMAGE:
            pass  # damage: decoding from the start tells where


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


def decode_from_start(clip: Clip, threads: int) -> None:
    """Fills the clip with frames counted in presentation order.

    Raises:
        VideoError: the video is damaged or ends before the last of them.
    """
    count = 0
    with open_video(clip.path, threads) as (container, stream):
        try:
            for frame in container.decode(stream):
                if count in clip.missing:
                    clip.add(count, frame)
                    if clip.is_complete:
                        return
                count += 1
        except VideoError:
            raise
        except DAMAGE as error:
            raise decoding_error(clip.path, error, count) from error
    raise VideoError(clip.path, "it ends before the frames its index promises", count)


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter, short_side: int = 0) -> np.ndarray:
    """A decoded frame as uint8 [H, W, 3], as its file holds it."""
    height, width = shrunk(frame.height, frame.width, short_side)
    image = reformatter.reformat(frame, width, height, format="rgb24", **REFORMAT_OPTIONS)
    plane = image.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)  # padded at their ends
    return rows[:, : 3 * width].reshape(height, width, 3)


def shrunk(height: int, width: int, short_side: int) -> tuple[int, int]:
    """The size of a frame whose short side is at most `short_side` pixels (0: as it is), its shape kept."""
    return short_side_size(height, width, min(short_side, height, width)) if short_side else (height, width)
