import numpy as np
import pytest
import torch

from slowfast.datasets.transform import Box, crop_clip, jittered_box, normalize, resized_box, uniform_box


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
    [(240, 320, [(0, 0), (0, 40), (0, 80)]), (320, 240, [(0, 0), (40, 0), (80, 0)]), (9, 9, [(0, 0)] * 3)],
)
def test_uniform_crops_are_the_two_ends_and_the_middle_of_the_long_side(height, width, origins):
    side = min(height, width)
    assert [uniform_box(height, width, crop) for crop in range(3)] == [Box(*origin, side, side) for origin in origins]


def test_a_crop_of_the_size_wanted_is_the_pixels_themselves(rng):
    frames = rng.integers(0, 255, (3, 20, 30, 3), np.uint8)
    clip = crop_clip(frames, Box(2, 5, 16, 16), 16)
    assert clip.dtype == torch.uint8
    assert clip.is_contiguous()
    assert np.array_equal(clip, frames[:, 2:18, 5:21].transpose(3, 0, 1, 2))
    assert torch.equal(crop_clip(frames, Box(2, 5, 16, 16), 16, flip=True), clip.flip(-1))


def test_resizing_keeps_frames_apart_and_averages_when_it_shrinks(rng):
    frames = rng.integers(0, 255, (2, 64, 64, 3), np.uint8)
    frames[1] = 80
    clip = crop_clip(frames, Box(0, 0, 64, 64), 8)
    assert clip.shape == (3, 2, 8, 8)
    assert (clip[:, 1] == 80).all()
    # Antialiased: noise of standard deviation 73 becomes its mean, which picking pixels would not do.
    assert clip[:, 0].float().std() < 20


def test_a_clip_with_negative_strides_is_cropped_as_well(rng):
    frames = rng.integers(0, 255, (2, 20, 20, 3), np.uint8)
    assert torch.equal(
        crop_clip(frames[..., ::-1], Box(0, 0, 20, 20), 10), crop_clip(frames, Box(0, 0, 20, 20), 10).flip(0)
    )


def test_normalize_subtracts_the_mean_and_divides_by_std_per_channel():
    clips = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).expand(2, 3, 2, 16, 16)
    mean, std = [0.45, 0.4, 0.3], [0.225, 0.2, 0.1]
    expected = (clips / 255 - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    result = normalize(clips, mean, std)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)
