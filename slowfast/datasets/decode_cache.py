"""DATA.DECODE_CACHE: decoded, shrunk videos as arrays on disk, for data sets that fit there."""

import hashlib
import os
from pathlib import Path

import numpy as np

from slowfast.datasets.video_file import VideoError

# Decoding a whole video takes its frames into memory once.
LARGEST_VIDEO = 2**30


class DecodeCache:
    """A folder of .npy files [frames, H, W, 3] with room for `max_bytes`; once full it takes in no more.

    Nothing is thrown out: an epoch reads every video once, so that any replacement would only lose hits.
    """

    def __init__(self, folder: Path, max_bytes: float, settings: str):
        """`settings`: what else than the file decides its frames, such as their size."""
        self.folder, self.max_bytes, self.settings = folder, max_bytes, settings
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, path: str, indices: np.ndarray, source) -> np.ndarray:
        """Frames `indices` of a video as `source.read` gives them; from the folder if all its frames are there.

        Raises:
            VideoError: as `source.read`.
        """
        try:
            stored = self.folder / f"{self.key(path)}.npy"
            frames = np.load(stored, mmap_mode="r") if stored.exists() else self.store(path, stored, source)
        except ValueError:  # neither a VideoError of the whole video nor a broken file of ours need touch this clip
            frames = None
        if frames is None:
            return source.read(path, indices)
        if min(indices) < 0 or max(indices) >= len(frames):
            raise VideoError(path, f"frames {list(indices)} asked for, it has {len(frames)}")
        return np.array(frames[np.asarray(indices)])

    def key(self, path: str) -> str:
        """Another one when the file has changed."""
        try:
            status = os.stat(path)
        except OSError as error:
            raise VideoError(path, error.strerror or str(error)) from error
        what = f"{os.path.realpath(path)}\0{status.st_mtime_ns}\0{status.st_size}\0{self.settings}"
        return hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def store(self, path: str, stored: Path, source) -> np.ndarray | None:
        """Decodes and keeps all frames; None if there is no room for them."""
        info = source.probe(path)
        first = source.read(path, np.zeros(1, np.int64))
        size = first.nbytes * info.num_frames
        if size > LARGEST_VIDEO or self.used() + size > self.max_bytes:
            return None
        frames = source.read(path, np.arange(info.num_frames))
        aside = stored.with_suffix(f".{os.getpid()}")
        with open(aside, "wb") as file:
            np.save(file, frames)
        os.replace(aside, stored)
        return frames

    def used(self) -> int:
        """Bytes of the folder's files, those that other processes are writing included."""
        sizes = []
        for entry in os.scandir(self.folder):
            try:
                sizes.append(entry.stat().st_size)
            except FileNotFoundError:  # just renamed
                continue
        return sum(sizes)
