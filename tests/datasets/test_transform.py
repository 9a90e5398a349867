import numpy as np
import pytest
import torch

from slowfast.datasets.transform import (
    Box,
    jittered_box,
    moving_boxes,
    multi_scale_box,
    normalize,
    resize,
    resize_short_side,
    resized_box,
    resized_clip,
    short_side_size,
    to_clip,
    uniform_box,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (224, 224), (3, 500), (2, 2)])
def test_every_box_lies_within_the_frame(rng, height, width):
    for _ in range(200):
        for box in (
            jittered_box(height, width, 224, (256, 320), rng),
            jittered_box(height, width, 224, (256, 320), rng, inverse_uniform=True),
            resized_box(height, width, (0.08, 1.0), (0.75, 1.3333), rng),
            uniform_box(height, width, int(rng.integers(3))),
        ):
            assert box.height > 0
            assert box.width > 0
            assert 0 <= box.top <= height - box.height
            assert 0 <= box.left <= width - box.width


def test_a_jittered_box_is_the_crop_at_a_random_scale_of_the_short_side(rng):
    sides = {jittered_box(240, 320, 224, (256, 320), rng).height for _ in range(500)}
    assert min(sides) == round(224 * 240 / 320)
    assert max(sides) == round(224 * 240 / 256)
    boxes = [jittered_box(320, 240, 224, (280, 280), rng) for _ in range(50)]
    assert {(box.height, box.width) for box in boxes} == {(192, 192)}


def test_the_inverse_scale_prefers_small_scales(rng):
    def mean_side(inverse):
        boxes = [jittered_box(240, 320, 100, (100, 400), rng, inverse_uniform=inverse) for _ in range(500)]
        return np.mean([box.height for box in boxes])

    # E[1/s] is (1/100 + 1/400) / 2 for the one, ln(4) / 300 for the other.
    assert mean_side(True) == pytest.approx(240 * 100 * (1 / 100 + 1 / 400) / 2, rel=0.05)
    assert mean_side(False) == pytest.approx(240 * 100 * np.log(4) / 300, rel=0.05)


def test_random_positions_reach_the_last_one_and_a_frame_of_crop_size_has_one(rng):
    lefts = {jittered_box(8, 12, 8, (8, 8), rng).left for _ in range(200)}
    assert lefts == {0, 1, 2, 3, 4}
    assert jittered_box(8, 8, 8, (8, 8), rng) == Box(0, 0, 8, 8)


def test_a_resized_box_has_the_area_and_aspect_asked_for(rng):
    boxes = [resized_box(1000, 1000, (0.1, 0.4), (0.5, 2.0), rng) for _ in range(1000)]
    areas = np.array([box.height * box.width for box in boxes]) / 1e6
    ratios = np.log2([box.width / box.height for box in boxes])
    assert 0.099 < areas.min() < 0.11
    assert 0.39 < areas.max() < 0.401
    assert abs(ratios.mean()) < 0.1  # log-uniform: as often wide as tall
    assert -1.01 < ratios.min() < -0.9
    assert 0.9 < ratios.max() < 1.01


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(100, 1000, Box(0, 433, 100, 133)), (1000, 100, Box(433, 0, 133, 100)), (200, 200, Box(0, 0, 200, 200))],
)
def test_a_resized_box_that_never_fits_is_the_largest_in_the_centre(rng, height, width, box):
    # More than the frame: all ten tries fail.
    assert resized_box(height, width, (2.0, 2.0), (0.75, 1.3333), rng) == box


@pytest.mark.parametrize(
    ("height", "width", "origins"),
    [
        (224, 298, [(0, 0), (0, 37), (0, 74)]),
        (224, 299, [(0, 0), (0, 38), (0, 75)]),  # of two places as near to the center the later one
        (299, 224, [(0, 0), (38, 0), (75, 0)]),
        (9, 9, [(0, 0)] * 3),
    ],
)
def test_uniform_crops_are_the_two_ends_and_the_middle_of_the_long_side(height, width, origins):
    side = min(height, width)
    assert [uniform_box(height, width, crop) for crop in range(3)] == [Box(*origin, side, side) for origin in origins]


def test_a_multi_scale_box_has_sides_of_neighbouring_scales_at_one_of_13_places(rng):
    boxes = [multi_scale_box(256, 340, [1, 0.875, 0.75, 0.66], rng) for _ in range(4000)]
    sides = [256, 224, 192, 169]
    shapes = [(box.height, box.width) for box in boxes]
    pairs = {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert set(shapes) == pairs
    assert all(320 < shapes.count(pair) < 480 for pair in pairs)  # a tenth each
    small = {(box.top, box.left) for box in boxes if box.height == box.width == 192}
    assert len(small) == 13
    assert {(0, 0), (0, 148), (64, 0), (64, 148), (32, 74), (16, 37), (48, 111)} <= small
    assert {multi_scale_box(40, 90, [1], rng)[2:] for _ in range(9)} == {(40, 40)}


def test_a_moving_box_goes_evenly_from_one_to_the_other():
    boxes = moving_boxes(Box(0, 8, 10, 20), Box(6, 2, 13, 5), 4)
    assert boxes == [(0, 8, 10, 20), (2, 6, 11, 15), (4, 4, 12, 10), (6, 2, 13, 5)]


def test_a_clip_has_its_own_memory_and_takes_mirrored_frames(rng):
    frames = rng.integers(0, 255, (3, 20, 30, 1), np.uint8)
    clip = to_clip(frames)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    clip.zero_()
    assert frames.any()
    assert torch.equal(to_clip(frames[:, :, ::-1]), to_clip(frames).flip(-1))


def test_the_short_side_decides_the_size_and_the_right_size_is_left_alone(rng):
    frames = rng.integers(0, 255, (2, 24, 31, 3), np.uint8)
    for antialias in (False, True):
        assert resize_short_side(frames, 16, antialias=antialias).shape == (2, 16, 20, 3)  # 20.67
        assert resize_short_side(frames.transpose(0, 2, 1, 3), 48, antialias=antialias).shape == (2, 62, 48, 3)
        assert resize_short_side(frames, 24, antialias=antialias) is frames


@pytest.mark.parametrize("num_frames", [1, 4, 9])
@pytest.mark.parametrize("side", [20, 24])
def test_a_resized_clip_is_the_clip_of_the_resized_frames(rng, num_frames, side):
    frames = rng.integers(0, 255, (num_frames, 24, 31, 3), np.uint8)
    for antialias in (False, True):
        clip = resized_clip(frames, side, antialias=antialias)
        assert torch.equal(clip, to_clip(resize_short_side(frames, side, antialias=antialias)))
        clip.zero_()
    assert frames.any()


@pytest.mark.parametrize(
    ("height", "width", "side", "size"),
    [
        (240, 320, 224, (224, 298)),  # 298.67
        (320, 240, 224, (298, 224)),
        (720, 1280, 224, (224, 398)),  # 398.22
        (256, 340, 256, (256, 340)),
        (9, 9, 7, (7, 7)),
        # In this order: 115 / 112 * 224 is 229.99999999999997, and 190 * (112 / 95) would be 223.99999999999997.
        (112, 115, 224, (224, 229)),
        (95, 190, 112, (112, 224)),
        (112, 115, 112, (112, 115)),
    ],
)
def test_the_long_side_is_rounded_down_after_the_quotient(height, width, side, size):
    assert short_side_size(height, width, side) == size


def test_resizing_interpolates_between_pixel_centers_and_antialiases_only_if_asked_to(rng):
    ramp = np.arange(0, 240, 10, dtype=np.uint8)[:, None].repeat(3, 1)[None, None].repeat(2, 1)  # [1, 2, 24, 3]
    # An output pixel of 3 input pixels shows the one in the middle; of 1.5 it lies a quarter off or on a center.
    assert resize(ramp, 2, 8, antialias=False)[0, 0, :, 0].tolist() == list(range(10, 240, 30))
    enlarged = resize(ramp, 2, 36, antialias=False)[0, 0, :6, 0]
    assert np.abs(enlarged - np.array([0, 5, 35 / 3, 55 / 3, 25, 95 / 3])).max() < 1
    noise = rng.integers(0, 255, (1, 64, 64, 3), np.uint8)  # its standard deviation is 73
    assert resize(noise, 8, 8, antialias=True).std() < 20
    assert resize(noise, 8, 8, antialias=False).std() > 30


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_frames_of_any_layout_and_number_are_resized_alike(rng, channels, antialias):
    frames = rng.integers(0, 255, (5, 40, 56, channels), np.uint8)
    for size in ((24, 33), (70, 90), (40, 20)):
        expected = resize(frames, *size, antialias=antialias)
        assert expected.shape == (5, *size, channels)
        assert expected.flags.c_contiguous
        views = (
            np.asfortranarray(frames),
            frames.repeat(2, 0)[::2],
            np.pad(frames, ((0, 0), (3, 1), (2, 5), (0, 0)))[:, 3:43, 2:58],
            np.ascontiguousarray(frames[:, :, ::-1])[:, :, ::-1],
            frames.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1),
        )
        for view in views:
            assert np.array_equal(view, frames)
            assert np.array_equal(resize(view, *size, antialias=antialias), expected)
        one_by_one = [resize(frames[i : i + 1], *size, antialias=antialias) for i in range(5)]
        assert np.array_equal(np.concatenate(one_by_one), expected)


def test_normalize_subtracts_the_mean_and_divides_by_std_per_channel():
    clips = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).expand(2, 3, 2, 16, 16)
    mean, std = [0.45, 0.4, 0.3], [0.225, 0.2, 0.1]
    expected = (clips / 255 - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    result = normalize(clips, mean, std)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)
