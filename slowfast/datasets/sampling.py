"""Which frames make a clip: pure functions of numbers, with upstream's formulas.

`start`s and positions are real frame numbers; `indices` are int64 arrays [T] within the video.
"""

from typing import NamedTuple

import numpy as np
import torch

SWEEP = (1, 3, 5, 7, 10)  # numbers of test clips that TEST.NUM_ENSEMBLE_VIEWS -1 compares


class Clip(NamedTuple):
    """Test clip `number` of the `count` that are spread over a video."""

    number: int
    count: int


def clips_of_views(num_ensemble_views: int) -> list[Clip]:
    """The clips of a test video for TEST.NUM_ENSEMBLE_VIEWS; those of all SWEEP in a row for -1."""
    counts = SWEEP if num_ensemble_views == -1 else (num_ensemble_views,)
    return [Clip(number, count) for count in counts for number in range(count)]


def clip_length(num_frames: int, sampling_rate: int, fps: float | None = None, target_fps: float = 30.0) -> float:
    """Frames a dense clip spans: rate x frames, scaled to the video's frame rate where `fps` is given."""
    length = num_frames * sampling_rate
    return length if fps is None else length * fps / target_fps


def random_start(video_length: int, length: float, rng: np.random.Generator) -> float:
    """Uniform over every start that leaves room for the clip; 0 in a video shorter than it."""
    return rng.uniform(0.0, max(video_length - length, 0.0))


def view_start(video_length: int, length: float, clip: int, num_clips: int, *, offset: bool) -> float:
    """Start of test clip `clip` of `num_clips`.

    Classic: slack * clip / num_clips, which never reaches the video's end. `offset` (USE_OFFSET_SAMPLING):
    clip * floor(slack / (num_clips - 1)), from the first to the last frame; a single clip in the middle.
    """
    slack = max(video_length - length, 0.0)
    if not offset:
        return slack * clip / num_clips
    if num_clips == 1:
        return slack // 2
    return clip * (slack // (num_clips - 1))


def dense_indices(start: float, length: float, num_frames: int, video_length: int) -> np.ndarray:
    """`num_frames` evenly spaced positions from `start` to `start + length - 1`, clamped, truncated.

    Their distance is (length - 1) / (num_frames - 1), as upstream's, not quite the sampling rate.
    """
    # By torch in float32, as upstream: where a position is nearly whole its last bit decides, and numpy's is another.
    positions = torch.linspace(start, start + length - 1, num_frames, dtype=torch.float32)
    return positions.clamp_(0, video_length - 1).long().numpy()


def segment_indices_random(video_length: int, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame of each of `num_frames` equal segments of (length - 1) / frames (TSN)."""
    edges = np.round((video_length - 1) / num_frames * np.arange(num_frames + 1)).astype(np.int64)
    return rng.integers(edges[:-1], edges[1:], endpoint=True)


def segment_indices_view(video_length: int, num_frames: int, clip: int, num_clips: int) -> np.ndarray:
    """Of each segment the frame (clip + 1) / (num_clips + 1) of the way through it: views differ."""
    segment = (video_length - 1) / num_frames
    starts = np.round(segment * np.arange(num_frames)).astype(np.int64)
    return starts + int(segment / (num_clips + 1) * (clip + 1))
