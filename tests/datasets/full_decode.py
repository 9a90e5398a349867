"""The reference for every frame: its file decoded from the start, in order."""

import contextlib
from pathlib import Path

import av
import numpy as np

from slowfast.datasets.decoder import probe, read_frames
from slowfast.datasets.video_file import OPEN_OPTIONS

SHARED = Path(__file__).parents[3] / "shared/video"


def decode_all(path):
    """Every frame in order, by a plain sequential decode; up to damage."""
    images = []
    with av.open(str(path), **OPEN_OPTIONS) as container, contextlib.suppress(av.FFmpegError):
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            images.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
    return images


def assert_reads_as_a_full_decode(path, *, sets, singly=False):
    reference, num_frames = decode_all(path), probe(str(path)).num_frames
    rng = np.random.default_rng(0)
    tried = [rng.integers(0, num_frames, size) for size in (1, 3, 16) for _ in range(sets)] + [[num_frames - 1]]
    tried += [[index] for index in range(num_frames)] if singly else []
    for indices in tried:
        for image, index in zip(read_frames(str(path), indices), indices, strict=True):
            assert np.array_equal(image, reference[index]), f"frame {index} of {path}"
    assert num_frames == len(reference)
