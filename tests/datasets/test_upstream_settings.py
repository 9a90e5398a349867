"""Random settings of sampling, sizes and crops give upstream's integers, by formulas written here a second time."""

import math
from types import SimpleNamespace

import numpy as np

from slowfast.datasets import sampling
from slowfast.datasets.transform import Box, short_side_size, uniform_box

SETTINGS = 2000


def float32_positions(start, end, count):
    """For each of `count` positions the one or two float32 numbers that torch.linspace gives.

    Those of the first half are counted from the start, the others back from the end. Some processors round the
    product and then the sum (the first of the two), others the sum alone.
    """
    start, end = np.float32(start), np.float32(end)
    step = (end - start) / np.float32(max(count - 1, 1))
    counted = [(start, i) if i < count // 2 or count == 1 else (end, i - (count - 1)) for i in range(count)]
    return [(base + step * np.float32(i), np.float32(float(base) + float(step) * i)) for base, i in counted]


def numbers(positions, video_length):
    return {int(min(max(position, 0), video_length - 1)) for position in positions}


def test_dense_clips_of_random_settings_are_upstreams():
    rng = np.random.default_rng(14)
    moved = 0
    for _ in range(SETTINGS):
        video_length, num_frames = int(rng.integers(1, 400)), int(rng.choice([1, 3, 4, 8, 16, 16, 16, 32]))
        rate, views = int(rng.integers(1, 9)), int(rng.choice([1, 2, 3, 5, 5, 7, 10]))
        fps = None if rng.random() < 0.7 else rng.choice([12.5, 24, 25, 29.97, 50, 60])
        length = sampling.clip_length(num_frames, rate, fps, 30)
        assert length == (rate * num_frames if fps is None else rate * num_frames * fps / 30)
        slack = max(video_length - length, 0)
        for clip in {0, views - 1, int(rng.integers(views))}:
            classic = sampling.view_start(video_length, length, clip, views, offset=False)
            by_offset = sampling.view_start(video_length, length, clip, views, offset=True)
            assert classic == slack * clip / views
            assert by_offset == (math.floor(slack / 2) if views == 1 else clip * math.floor(slack / (views - 1)))
        for pick, start in ((lambda low, high: low, 0), (lambda low, high: high, slack)):
            assert sampling.random_start(video_length, length, SimpleNamespace(uniform=pick)) == start
        for start in (classic, by_offset, rng.uniform(0, slack)):
            found = sampling.dense_indices(start, length, num_frames, video_length)
            allowed = float32_positions(start, start + length - 1, num_frames)
            assert found.dtype == np.int64
            assert len(found) == num_frames
            assert all(
                number in numbers(some, video_length) for number, some in zip(found.tolist(), allowed, strict=True)
            )
            exact = np.linspace(start, start + length - 1, num_frames).clip(0, video_length - 1).astype(int)
            moved += (found != exact).any()
    assert moved > 5  # in float64 some are others: the arithmetic above is no detail


def test_segments_of_random_settings_are_upstreams():
    rng = np.random.default_rng(14)
    ends = [SimpleNamespace(integers=lambda low, high, endpoint: low), SimpleNamespace()]
    ends[1].integers = lambda low, high, endpoint: high if endpoint else high - 1
    for _ in range(SETTINGS):
        video_length, num_frames = int(rng.integers(1, 400)), int(rng.integers(1, 40))
        views = int(rng.integers(1, 11))
        segment = (video_length - 1) / num_frames
        edges = [round(segment * i) for i in range(num_frames + 1)]
        drawn = [sampling.segment_indices_random(video_length, num_frames, end).tolist() for end in ends]
        assert drawn == [edges[:-1], edges[1:]]
        step = segment / (views + 1)
        for clip in {0, views - 1}:
            found = sampling.segment_indices_view(video_length, num_frames, clip, views)
            assert found.tolist() == [edge + int(step * (clip + 1)) for edge in edges[:-1]]


def test_sizes_and_crops_of_random_settings_are_upstreams():
    rng = np.random.default_rng(14)
    for _ in range(SETTINGS):
        height, width, side = (int(rng.integers(1, high)) for high in (1100, 1100, 400))
        resized = short_side_size(height, width, side)
        if min(height, width) == side:
            assert resized == (height, width)
        elif height < width:
            assert resized == (side, int(width / height * side))
        else:
            assert resized == (int(height / width * side), side)
        room = max(resized) - side
        for crop, offset in enumerate((0, (room + 1) // 2, room)):
            place = (0, offset) if resized[0] < resized[1] else (offset, 0)
            assert uniform_box(*resized, crop) == Box(*place, side, side)
