"""Where the frames of a list entry come from: a video file, a folder of images, or an array in a file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slowfast.datasets import decoder
from slowfast.datasets.decode_cache import DecodeCache
from slowfast.datasets.folders import IMAGE_SUFFIXES, files_in
from slowfast.datasets.images import read_image
from slowfast.datasets.orientation import as_displayed
from slowfast.datasets.transform import resize
from slowfast.datasets.video_file import VideoError, open_video, url_of
from slowfast.datasets.video_index import VideoInfo


class PyAV:
    """Video files through FFmpeg by PyAV: exact frames, and the default."""

    def __init__(self, short_side: int, threads: int):
        self.short_side, self.threads = short_side, threads

    def probe(self, path: str) -> VideoInfo:
        return decoder.probe(path)

    def read(self, path: str, indices: np.ndarray) -> np.ndarray:
        return decoder.read_frames(path, indices, short_side=self.short_side, threads=self.threads)


class TorchCodec:
    """Video files through FFmpeg by torchcodec, an optional extra; it resizes after decoding.

    Its frames are not those of a full decode in every file: packed B-frames (HMDB51) and open GOPs differ. It turns
    videos by their display matrix but does not mirror them, and would follow playlists, so PyAV looks at a file first.
    """

    def __init__(self, short_side: int, threads: int):
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:
            raise ValueError(
                "DATA.DECODING_BACKEND torchcodec needs the package (pip install torchcodec) and FFmpeg's shared "
                f"libraries; importing it says: {str(error).strip().splitlines()[0]}. Or set it to pyav."
            ) from error
        self.decoder, self.short_side, self.threads = VideoDecoder, short_side, threads

    def open(self, path: str):
        with open_video(path) as (_container, stream):
            options = {"stream_index": stream.index, "num_ffmpeg_threads": self.threads}
        try:
            return self.decoder(url_of(path), dimension_order="NHWC", **options)
        except (ValueError, RuntimeError) as error:
            raise VideoError(path, f"not a readable video ({first_line(error)})") from error

    def probe(self, path: str) -> VideoInfo:
        found = self.open(path).metadata
        return VideoInfo(found.num_frames, found.average_fps, found.height, found.width)

    def read(self, path: str, indices: np.ndarray) -> np.ndarray:
        video = self.open(path)
        try:
            frames = video.get_frames_at(np.asarray(indices).tolist()).data.numpy()
        except (ValueError, RuntimeError, IndexError) as error:
            raise VideoError(path, f"damaged ({first_line(error)})") from error
        degrees = getattr(video.metadata, "rotation", 0)  # counter-clockwise; older versions do not turn
        if degrees is not None:  # there is a display matrix
            stored = np.rot90(frames, -round(degrees / 90), axes=(1, 2))
            frames = np.ascontiguousarray(as_displayed(stored, decoder.display_orientation(path)))
        return shrink(frames, self.short_side)


class ImageFolder:
    """A folder's images (jpg, png) in the natural order of their names: 2 before 10."""

    def __init__(self, short_side: int):
        self.short_side = short_side

    def images(self, path: str) -> list[str]:
        names = files_in(path, IMAGE_SUFFIXES)
        if not names:
            raise VideoError(path, "no image (jpg, png) in this folder")
        return names

    def probe(self, path: str) -> VideoInfo:
        names = self.images(path)
        height, width = read_image(path, names[0], 0).shape[:2]
        return VideoInfo(len(names), None, height, width)

    def read(self, path: str, indices: np.ndarray) -> np.ndarray:
        names = self.images(path)
        check_indices(path, indices, len(names))
        images = [read_image(path, names[index], index) for index in np.asarray(indices).tolist()]
        if len({image.shape for image in images}) > 1:
            raise VideoError(path, "its images have different sizes")
        return shrink(np.stack(images), self.short_side)


class ArrayFile:
    """uint8 RGB frames [T, H, W, 3] in a .npy file, or in an .npz file of one array or one named `frames`."""

    def __init__(self, short_side: int):
        self.short_side = short_side

    def open(self, path: str) -> np.ndarray:
        try:
            content = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise VideoError(path, f"not a readable array ({error})") from error
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                names = content.files
                if len(names) != 1 and "frames" not in names:
                    raise VideoError(path, f"which of its arrays are the frames: {', '.join(names)}?")
                content = content["frames" if "frames" in names else names[0]]
        if content.dtype != np.uint8 or content.ndim != 4 or content.shape[-1] != 3 or not len(content):
            raise VideoError(path, f"{content.dtype} {list(content.shape)} is not uint8 [T, H, W, 3]")
        return content

    def probe(self, path: str) -> VideoInfo:
        num_frames, height, width, _channels = self.open(path).shape
        return VideoInfo(num_frames, None, height, width)

    def read(self, path: str, indices: np.ndarray) -> np.ndarray:
        frames = self.open(path)
        check_indices(path, indices, len(frames))
        return shrink(np.array(frames[np.asarray(indices)]), self.short_side)


BACKENDS: dict[str, Callable] = {"pyav": PyAV, "decord": PyAV, "torchcodec": TorchCodec}


class Reader:
    """`probe` and `read` for whatever a path is: folder, .npy or .npz, else a video file for the backend."""

    def __init__(self, backend: str, *, short_side: int = 0, threads: int = 1, cache: DecodeCache | None = None):
        self.videos = BACKENDS[backend](short_side, threads)
        self.folders, self.arrays = ImageFolder(short_side), ArrayFile(short_side)
        self.cache = cache

    def probe(self, path: str) -> VideoInfo:
        """Frames, rate (None where there is none) and size.

        Raises:
            VideoError: it cannot be read.
        """
        return self.source(path).probe(path)

    def read(self, path: str, indices: np.ndarray) -> np.ndarray:
        """Frames `indices` [T] as uint8 RGB [T, H, W, 3].

        Raises:
            VideoError: one of them cannot be read.
        """
        source = self.source(path)
        if self.cache and source is self.videos:
            return self.cache.read(path, indices, source)
        return source.read(path, indices)

    def source(self, path: str):
        if path.endswith((".npy", ".npz")):
            return self.arrays
        return self.folders if os.path.isdir(path) else self.videos


def build_reader(cfg) -> Reader:
    """The reader of DATA.DECODING_BACKEND, with DATA.DECODE_CACHE if that is set."""
    backend, short_side = cfg.DATA.DECODING_BACKEND, cfg.DATA.DECODING_SHORT_SIZE
    cache = None
    if cfg.DATA.DECODE_CACHE:
        # Frames shrunk by an earlier version, which rounded their long side, are not taken for these.
        shrinking = f"{short_side}, long side rounded down" if short_side else "0"
        settings = f"{BACKENDS[backend].__name__} {shrinking}"
        cache = DecodeCache(Path(cfg.DATA.DECODE_CACHE), cfg.DATA.DECODE_CACHE_GB * 1e9, settings)
    threads = 0 if cfg.DATA_LOADER.ENABLE_MULTI_THREAD_DECODE else 1
    return Reader(backend, short_side=short_side, threads=threads, cache=cache)


def check_indices(path: str, indices: np.ndarray, num_frames: int) -> None:
    if len(indices) == 0 or min(indices) < 0 or max(indices) >= num_frames:
        raise VideoError(path, f"frames {list(indices)} asked for, it has {num_frames}")


def shrink(frames: np.ndarray, short_side: int) -> np.ndarray:
    """Frames [T, H, W, 3] as a smaller file would hold them: always antialiased, whatever DATA.RESIZE_ANTIALIAS."""
    return resize(frames, *decoder.shrunk(*frames.shape[1:3], short_side), antialias=True)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
