"""Re-encodes videos to a smaller short side, in several processes; what is done already is not done again."""

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from slowfast.datasets.decoder import REFORMAT_OPTIONS, shrunk
from slowfast.datasets.orientation import UPRIGHT, as_displayed, orientation_of
from slowfast.datasets.video_file import DAMAGE, VideoError, decoding_error, open_video, url_of
from slowfast.datasets.video_index import index_of


def resize_videos(
    sources: list[Path], targets: list[Path], *, short_side: int, gop: int, jobs: int
) -> Iterator[tuple[Path, VideoError | None]]:
    """Writes each source as H.264 without sound to its target, if that is not there; yields (source, error or None).

    Frames keep their times and are turned as they are displayed. A keyframe every `gop` frames makes random clips
    cheap to decode.
    """
    arguments = (sources, targets, repeat(short_side), repeat(gop))
    if jobs <= 1:
        yield from zip(sources, map(resize_video, *arguments), strict=True)
        return
    with ProcessPoolExecutor(jobs, initializer=gc.freeze) as pool:  # see loader.begin_process
        yield from zip(sources, pool.map(resize_video, *arguments, chunksize=4), strict=True)


def resize_video(source: Path, target: Path, short_side: int, gop: int) -> VideoError | None:
    """Writes one target, aside until it is whole; returns what is wrong with the source."""
    if target.exists():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.mp4")
    try:
        encode(str(source), aside, short_side, gop)
        os.replace(aside, target)
    except VideoError as error:
        return error
    finally:
        aside.unlink(missing_ok=True)
    return None


def encode(source: str, target: Path, short_side: int, gop: int) -> None:
    count, reformatter, index = 0, VideoReformatter(), index_of(source)
    rate = Fraction(index.info.fps).limit_denominator(10**6)  # 30000/1001 comes back from 29.97...
    with open_video(source) as (container, stream), av.open(url_of(target), "w") as output:
        written = output.add_stream("libx264", rate=rate, options={"crf": "20", "g": str(gop)})
        written.pix_fmt, written.codec_context.thread_count = "yuv420p", 1
        if index.seekable:
            written.codec_context.time_base = stream.time_base
        try:
            for frame in container.decode(stream):
                picture = upright(frame)
                if count == 0:
                    height, width = shrunk(picture.height, picture.width, short_side)
                    written.height, written.width = height - height % 2, width - width % 2  # 4:2:0 halves them
                small = reformatter.reformat(picture, written.width, written.height, "yuv420p", **REFORMAT_OPTIONS)
                small.pts, small.time_base = count, 1 / rate
                if index.seekable:  # from 0, for MP4 hides what comes before
                    small.pts, small.time_base = frame.pts - int(index.timestamps[0]), frame.time_base
                small.pict_type = PictureType.NONE  # where keyframes were is no matter now
                output.mux(written.encode(small))
                count += 1
        except DAMAGE as error:
            raise decoding_error(source, error, count) from error
        output.mux(written.encode())


def upright(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as its display matrix turns and mirrors it."""
    orientation = orientation_of(frame)
    if orientation == UPRIGHT:
        return frame
    image = as_displayed(frame.to_ndarray(format="rgb24"), orientation)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
