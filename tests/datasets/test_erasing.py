import numpy as np
import pytest
import torch

from slowfast.datasets import erasing as erasing_module
from slowfast.datasets.erasing import RandomErasing, erased_box

MEAN, STD = [0.45, 0.4, 0.5], [0.225, 0.2, 0.25]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def erasing(**changes):
    return RandomErasing(**({"prob": 1.0, "mode": "pixel", "max_count": 1, "mean": MEAN, "std": STD} | changes))


def erased(rng, **changes):
    """A clip of 7s after erasing, and where it is none any more (7 stands for a pixel left alone)."""
    clip = torch.full((3, 4, 40, 50), 7, dtype=torch.uint8)
    erasing(**changes)(clip, rng)
    return clip, (clip != 7).any(0).any(0)


def test_a_share_of_the_clips_is_erased_and_none_at_probability_0(rng):
    assert not any(erased(rng, prob=0.0)[1].any() for _ in range(50))
    share = np.mean([erased(rng, prob=0.25, mode="const")[1].any() for _ in range(1000)])
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1000)


def test_the_box_is_the_same_in_all_frames_and_channels(rng):
    for mode in ("pixel", "rand", "const"):
        clip, where = erased(rng, mode=mode)
        rows, columns = where.any(1), where.any(0)
        changed = clip != 7
        assert where.sum() == rows.sum() * columns.sum() > 0  # a rectangle
        assert changed[:, :, rows][..., columns].float().mean() > 0.95  # noise may be 7 too
        assert torch.equal(changed.any(0).any(0), where)


def test_constant_boxes_have_the_mean_colour_and_random_ones_one_colour(rng):
    clip, where = erased(rng, mode="const")
    assert [clip[c][:, where].unique().tolist() for c in range(3)] == [[115], [102], [128]]  # rounded 255 * mean
    colours = []
    for _ in range(200):
        clip, where = erased(rng, mode="rand")
        colours.append([clip[c][:, where].unique().item() for c in range(3)])
    assert len({tuple(colour) for colour in colours}) > 150
    assert np.abs(np.mean(colours, 0) - 255 * np.array(MEAN)).max() < 15


def test_noise_is_normal_after_normalisation_and_differs_from_frame_to_frame(rng):
    pixels = []
    for _ in range(60):
        clip, where = erased(rng)
        assert not torch.equal(clip[:, 0], clip[:, 1])
        pixels.append(clip[:, :, where].flatten(1))
    normalised = (torch.cat(pixels, 1) / 255 - torch.tensor(MEAN)[:, None]) / torch.tensor(STD)[:, None]
    for channel in normalised:
        # Of N(0, 1) cut at black (-2) and white (about 2.4).
        assert abs(channel.mean()) < 0.02
        assert abs(channel.std() - 0.97) < 0.02
        assert abs((channel.abs() < 1).float().mean() - 0.683) < 0.02


def test_areas_and_aspects_are_uniform_and_log_uniform(rng):
    boxes = [erased_box(400, 400, 1, rng) for _ in range(4000)]
    shares = np.array([box.height * box.width for box in boxes]) / 400**2
    aspects = np.log([box.height / box.width for box in boxes])
    low, high = 0.02, 1 / 3
    assert low - 0.002 < shares.min() < low + 0.005
    assert high - 0.005 < shares.max() < high + 0.002
    # Boxes that do not fit are drawn again: a few of the largest and longest are missing.
    assert abs(shares.mean() - (low + high) / 2) < 0.01
    assert abs(aspects.mean()) < 0.05
    assert abs(aspects.std() - 2 * np.log(1 / 0.3) / np.sqrt(12)) < 0.03
    # In both directions every place is as likely.
    rows = np.array([box.top / (400 - box.height) for box in boxes])
    assert np.abs(np.histogram(rows, 4, (0, 1))[0] / 4000 - 0.25).max() < 0.03
    assert all(box.top + box.height <= 400 and box.left + box.width <= 400 for box in boxes)


def test_several_boxes_share_the_area_and_their_number_is_uniform(rng):
    shares = np.array([sum(part(rng, count) for _ in range(count)) for count in (1, 2, 3) for _ in range(1500)])
    assert np.abs(shares.reshape(3, -1).mean(1) - 0.177).max() < 0.01
    lefts = [erased(rng, max_count=3, mode="const")[1] for _ in range(300)]
    assert np.mean([where.float().mean() for where in lefts]) < 0.2


@pytest.mark.parametrize("max_count", [1, 4])
def test_every_number_of_boxes_up_to_the_most_is_as_likely(rng, monkeypatch, max_count):
    drawn = []  # how many boxes share the area, noted for each box
    monkeypatch.setattr(erasing_module, "erased_box", lambda height, width, count, rng: drawn.append(count))
    erase, clip = erasing(max_count=max_count), torch.zeros(3, 4, 2, 2, dtype=torch.uint8)
    for _ in range(2000):
        erase(clip, rng)
    clips = np.array([drawn.count(count) / count for count in range(1, max_count + 1)])
    assert clips.sum() == 2000
    assert np.abs(clips / 2000 - 1 / max_count).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.parametrize(("max_count", "first"), [(1, 0), (2, 5), (3, 3), (4, 2), (11, 0)])
def test_where_several_boxes_may_come_the_first_frames_are_left_alone(rng, max_count, first):
    clip = torch.full((3, 10, 40, 50), 7, dtype=torch.uint8)
    erasing(mode="const", max_count=max_count)(clip, rng)
    assert (clip != 7).flatten(2).any(2).any(0).tolist() == [False] * first + [True] * (10 - first)


def part(rng, count):
    box = erased_box(300, 300, count, rng)
    return box.height * box.width / 300**2


def test_a_frame_too_small_for_any_box_is_left_alone(rng):
    assert erased_box(1, 1, 1, rng) is None
    clip = torch.zeros(3, 2, 1, 1, dtype=torch.uint8)
    erasing()(clip, rng)
    assert not clip.any()
