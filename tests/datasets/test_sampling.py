import numpy as np
import pytest

from slowfast.datasets import sampling


def test_a_clip_counts_frames_or_seconds():
    assert sampling.clip_length(16, 4) == 64
    assert sampling.clip_length(16, 4, fps=15.0, target_fps=30) == 32
    assert sampling.clip_length(16, 4, fps=60.0, target_fps=30) == 128


def test_dense_frames_lie_evenly_from_first_to_last_and_are_truncated():
    # Their distance is 63 / 15 = 4.2, not 4.
    expected = [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]
    assert sampling.dense_indices(0.0, 64, 16, 300).tolist() == expected
    assert sampling.dense_indices(0.9, 64, 16, 300).tolist()[:4] == [0, 5, 9, 13]


@pytest.mark.parametrize(
    ("start", "video_length", "expected"),
    [
        (0.4, 65, [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 50, 55, 59, 63]),  # 13 in float64: 0.4 + 3 * 4.2 = 13.0
        (0.8, 65, [0, 5, 9, 13, 17, 21, 25, 30, 34, 38, 42, 47, 51, 55, 59, 63]),  # 26
        (9.6, 76, [9, 13, 18, 22, 26, 30, 34, 39, 43, 47, 51, 55, 60, 64, 68, 72]),  # 38 and 59
    ],
)
def test_positions_that_are_nearly_whole_are_truncated_as_those_of_float32(start, video_length, expected):
    # Clips of 16x4 at 5 views.
    assert sampling.dense_indices(start, 64, 16, video_length).tolist() == expected


def test_a_short_video_repeats_its_last_frame():
    assert sampling.dense_indices(0.0, 16, 4, 9).tolist() == [0, 5, 8, 8]
    assert sampling.dense_indices(0.0, 16, 4, 1).tolist() == [0, 0, 0, 0]


def test_a_random_start_leaves_room_for_the_clip():
    rng = np.random.default_rng(0)
    starts = np.array([sampling.random_start(100, 64, rng) for _ in range(2000)])
    assert 0 <= starts.min() < 0.5
    assert 35.5 < starts.max() <= 36
    assert abs(starts.mean() - 18) < 1
    assert not np.allclose(starts, starts.round())
    assert sampling.random_start(10, 64, rng) == 0


@pytest.mark.parametrize(
    ("num_clips", "offset", "starts"),
    [
        (5, False, [0, 20, 40, 60, 80]),  # slack 100; the tail is never reached
        (5, True, [0, 25, 50, 75, 100]),
        (4, True, [0, 33, 66, 99]),
        (1, False, [0]),
        (1, True, [50]),
    ],
)
def test_starts_of_test_clips(num_clips, offset, starts):
    found = [sampling.view_start(164, 64, clip, num_clips, offset=offset) for clip in range(num_clips)]
    assert found == pytest.approx(starts)


def test_every_test_clip_of_a_short_video_starts_at_its_start():
    for offset in (False, True):
        assert {sampling.view_start(20, 64, clip, 5, offset=offset) for clip in range(5)} == {0}


def test_a_random_segment_frame_lies_in_its_segment_both_ends_included():
    rng = np.random.default_rng(0)
    drawn = np.stack([sampling.segment_indices_random(41, 4, rng) for _ in range(500)])
    assert drawn.min(0).tolist() == [0, 10, 20, 30]
    assert drawn.max(0).tolist() == [10, 20, 30, 40]


def test_segment_views_divide_each_segment_and_differ():
    # Segments of 10 frames; 3 views take a quarter, a half and three quarters of each.
    views = [sampling.segment_indices_view(41, 4, clip, 3).tolist() for clip in range(3)]
    assert views == [[2, 12, 22, 32], [5, 15, 25, 35], [7, 17, 27, 37]]
    assert sampling.segment_indices_view(41, 4, 0, 1).tolist() == [5, 15, 25, 35]


def test_segments_of_any_video_stay_within_it():
    rng = np.random.default_rng(0)
    for length in range(1, 60):
        for num_frames in (1, 8, 16):
            drawn = [sampling.segment_indices_view(length, num_frames, clip, 3) for clip in range(3)]
            drawn.append(sampling.segment_indices_random(length, num_frames, rng))
            assert min(map(np.min, drawn)) >= 0
            assert max(map(np.max, drawn)) < length


def test_a_sweep_has_the_clips_of_every_number_of_views_in_a_row():
    assert sampling.clips_of_views(3) == [(0, 3), (1, 3), (2, 3)]
    clips = sampling.clips_of_views(-1)
    assert [clip.count for clip in clips] == [1] + [3] * 3 + [5] * 5 + [7] * 7 + [10] * 10
    assert [clip.number for clip in clips] == [number for count in (1, 3, 5, 7, 10) for number in range(count)]
