"""Opens one video file: that file alone and nothing it names, at its main video stream, or says what is wrong."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.stream import Disposition

# Demuxers of FFmpeg that open other files or addresses, run scripts, or draw the letters of a text.
FOLLOWING = {"concat", "concatf", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub", "webm_dash_manifest"}
UNWANTED_FORMATS = {*FOLLOWING, "avisynth", "lavfi", "tty", "vapoursynth"}
OPEN_OPTIONS = {
    "container_options": {
        "format_whitelist": ",".join(sorted(av.formats_available - UNWANTED_FORMATS)),
        "protocol_whitelist": "file",
        "pattern_type": "none",  # an image called x%d.png is itself, not the pattern of a sequence
    }
}
# Metadata that is not UTF-8 (HMDB51) stops av.open, unless told so; PyAV 19 never reads it strictly.
if int(av.__version__.split(".")[0]) < 19:
    OPEN_OPTIONS["metadata_errors"] = "ignore"

# What PyAV raises of damaged files; a stream that shows up in the middle is an IndexError.
DAMAGE = (av.FFmpegError, ValueError, IndexError)

# How playlists and descriptions of streams begin.
PLAYLIST = re.compile(
    rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|\[reference\]|<asx|<smil|v=0\s|(<\?xml.*)?<MPD)",
    re.DOTALL | re.IGNORECASE,
)


class VideoError(ValueError):
    """A video that cannot be read: `path`, `reason`, and `position` (frames before it are readable), or None."""

    def __init__(self, path: str, reason: str, position: int | None = None):
        self.path, self.reason, self.position = path, reason, position
        at = "" if position is None else f" at frame {position}"
        super().__init__(f"{path}: {reason}{at}")

    def __reduce__(self):
        return VideoError, (self.path, self.reason, self.position)


@contextmanager
def open_video(path: str, threads: int = 1) -> Iterator[tuple]:
    """An open container and its main video stream; closed whatever happens, for containers leak otherwise.

    Raises:
        VideoError: not a video file by itself, or of a codec that this FFmpeg does not decode.
    """
    try:
        container = av.open(url_of(path), **OPEN_OPTIONS)
    except (*DAMAGE, OSError) as error:
        raise refusal(path, f"not a readable video ({wording(error)})") from error
    try:
        stream = main_stream(container)
        if stream is None:
            raise refusal(path, "no video stream in it")
        if stream.codec_context is None:
            raise VideoError(path, undecoded(container, stream))
        if threads != 1:
            stream.thread_type = "AUTO"
        stream.thread_count = threads
        yield container, stream
    finally:
        container.close()


def url_of(path: str | os.PathLike) -> str:
    """A file's path as FFmpeg takes it for nothing else: `12:30.mp4` would be of a protocol 12."""
    return f"file:{path}"


def main_stream(container):
    """FFmpeg's choice among the video streams that are no cover pictures, or their first; None without any."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def refusal(path: str, reason: str) -> VideoError:
    """An error for this reason, or for the plainer one that the file is a playlist."""
    if PLAYLIST.match(beginning(path)):
        reason = "is a playlist; put the videos that it names into the list"
    return VideoError(path, reason)


def undecoded(container, stream) -> str:
    """What to say of a stream without a decoder. PyAV does not tell its codec; FFmpeg's description does."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        described = re.search(rf"Stream #0:{stream.index}\b.*Video: (\w+)", container.dumps_format())
    finally:
        av.logging.set_level(level)
    if described is None or described[1] == "none":
        return "damaged, or of a codec that FFmpeg does not know"
    return f"of codec {described[1]}, which is not decoded by this FFmpeg"


def decoding_error(path: str, error: Exception, position: int | None = None) -> VideoError:
    """What stopped decoding at frame `position`, or before the first frame (None): damage, or what FFmpeg lacks."""
    is_first = not position
    if is_first and is_animated_webp(beginning(path)):
        return VideoError(path, "an animated WebP image, which is not decoded by this FFmpeg")
    if is_first and isinstance(error, av.error.PatchWelcomeError):
        return VideoError(path, f"of a kind that is not decoded by this FFmpeg ({wording(error)})")
    return VideoError(path, f"damaged ({wording(error)})", position)


def is_animated_webp(head: bytes) -> bool:
    """By the animation bit of its extended header (RFC 9649, section 2.7)."""
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def beginning(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1024)
    except OSError:
        return b""


def wording(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
