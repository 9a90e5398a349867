from itertools import pairwise

import numpy as np
import pytest
import torch

from slowfast.config import get_cfg
from slowfast.datasets.augment import ColourJitter, PCALighting, build_random_view, handed_labels
from slowfast.datasets.rand_augment import Operation
from slowfast.datasets.transform import cut, resize

PLAIN = ("AUG.ENABLE", True, "AUG.AA_TYPE", "", "AUG.RE_PROB", 0.0, "DATA.RANDOM_FLIP", False)
SCALES = ("DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.08, 1.0], "DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.75, 1.3333])


@pytest.fixture
def frames():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (4, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)


def view_of(*options, augmented=True):
    cfg = get_cfg()
    cfg.merge_from_list(["DATA.TRAIN_CROP_SIZE", 32, "DATA.TRAIN_JITTER_SCALES", [36, 40], *options])
    return build_random_view(cfg, augmented=augmented, kept_labels=frozenset({3}))


def clip_of(view, frames, seed=0, label=0):
    return view(frames, label, np.random.default_rng(seed))


def test_a_clip_depends_on_its_generator_alone_and_its_frames_are_left_as_they_were(frames):
    view = view_of("AUG.ENABLE", True, "AUG.PCA_LIGHTING", 0.1, "DATA.SSL_COLOR_JITTER", True, *SCALES)
    before = frames.copy()
    clips = [clip_of(view, frames, seed) for seed in range(30)]
    assert all(clip.shape == (3, 4, 32, 32) and clip.dtype == torch.uint8 for clip in clips)
    assert all(torch.equal(clip_of(view, frames, seed), clip) for seed, clip in enumerate(clips))
    assert not any(torch.equal(one, other) for one, other in pairwise(clips))
    assert np.array_equal(frames, before)


def test_all_frames_of_a_clip_are_changed_alike(frames):
    still = frames[:1].repeat(4, 0)
    view = view_of("AUG.ENABLE", True, "AUG.RE_PROB", 0.0, "AUG.PCA_LIGHTING", 0.1, "AUG.AA_TYPE", "rand-n4-p1-mstd2")
    for seed in range(20):
        clip = clip_of(view, still, seed)
        assert torch.equal(clip, clip[:, :1].expand_as(clip))


def test_validation_is_cropped_and_mirrored_and_never_augmented(frames):
    everything = ("AUG.ENABLE", True, "DATA.SSL_COLOR_JITTER", True, "AUG.PCA_LIGHTING", 0.5, *SCALES)
    shifting = ("DATA.TRAIN_JITTER_MOTION_SHIFT", True, "DATA.TRAIN_CROP_SCALES", [0.5])
    plain = view_of(augmented=False)
    for options in (everything, ("DATA.SSL_COLOR_JITTER", True, *shifting)):
        assert torch.equal(clip_of(view_of(*options, augmented=False), frames), clip_of(plain, frames))


def test_without_aug_nothing_of_its_section_is_done(frames):
    off = view_of("AUG.AA_TYPE", "rand-n9-p1", "AUG.RE_PROB", 1.0, "AUG.PCA_LIGHTING", 1.0)
    assert torch.equal(clip_of(off, frames), clip_of(view_of(augmented=False), frames))


def test_half_of_the_clips_are_mirrored_but_of_the_classes_that_are_kept(frames):
    view = view_of(*PLAIN[:-2], "DATA.TRAIN_JITTER_SCALES", [32, 32])
    square = frames[:, :32, :32]
    straight = torch.from_numpy(square.transpose(3, 0, 1, 2).copy())
    for label, expected in ((0, 0.5), (3, 0.0)):
        clips = [clip_of(view, square, seed, label) for seed in range(400)]
        mirrored = [torch.equal(clip, straight.flip(-1)) for clip in clips]
        assert all(one or torch.equal(clip, straight) for one, clip in zip(mirrored, clips, strict=True))
        assert abs(np.mean(mirrored) - expected) <= 4 * 0.5 / 20 * (expected > 0)


def test_channels_are_reversed_after_the_colours_and_before_the_erasing(frames):
    options = ("AUG.ENABLE", True, "AUG.PCA_LIGHTING", 0.3, "AUG.AA_TYPE", "rand-n3-p1-m9", "AUG.RE_PROB", 0.0)
    reverse = ("DATA.REVERSE_INPUT_CHANNEL", True)
    assert torch.equal(clip_of(view_of(*options, *reverse), frames), clip_of(view_of(*options), frames).flip(0))
    colours = ("AUG.RE_PROB", 1.0, "AUG.RE_MODE", "const", "DATA.MEAN", [0.0, 0.5, 1.0], *reverse)
    clip = clip_of(view_of("AUG.ENABLE", True, "AUG.AA_TYPE", "", *colours), np.full_like(frames, 9))
    assert {tuple(pixel) for pixel in clip.flatten(1).T.tolist()} == {(9, 9, 9), (0, 128, 255)}


@pytest.mark.parametrize("antialias", [False, True])
def test_a_crop_that_moves_starts_and_ends_at_two_draws(frames, antialias):
    long = frames[:1].repeat(5, 0)
    view = view_of(*PLAIN, *SCALES, "DATA.TRAIN_JITTER_MOTION_SHIFT", True, "DATA.RESIZE_ANTIALIAS", antialias)
    moving = clip_of(view, long, seed=4)
    rng = np.random.default_rng(4)
    first, last = (view.draw_box(*long.shape[1:3], rng=rng) for _ in range(2))
    assert first != last
    for position, box in ((0, first), (-1, last)):
        expected = resize(cut(long[:1], box), 32, 32, antialias=antialias)[0].transpose(2, 0, 1)
        assert np.array_equal(moving[:, position], expected)
    assert not torch.equal(moving[:, 2], moving[:, 0])


def test_multi_scale_crops_take_the_place_of_the_short_sides_jitter(frames):
    view = view_of(*PLAIN, "DATA.TRAIN_CROP_SCALES", [1, 0.875, 0.75, 0.66])
    boxes = {view.draw_box(48, 64, rng=np.random.default_rng(seed))[2:] for seed in range(200)}
    assert boxes == {(i, j) for i in (48, 42, 36, 32) for j in (48, 42, 36, 32)} - {
        *((48, 36), (36, 48), (48, 32), (32, 48), (42, 32), (32, 42))
    }
    assert clip_of(view, frames).shape == (3, 4, 32, 32)


def test_jitter_draws_factors_around_1_in_any_order():
    jitter = ColourJitter(strengths=[0.4, 0.2, 1.5], hue=0.1, grey_prob=0.25)
    rng = np.random.default_rng(0)
    draws = [jitter.draw(rng) for _ in range(2000)]
    steps = [step for draw in draws for step in draw[-4:]]
    values = {name: [step.value for step in steps if step.name == name] for name in jitter.strengths}
    for name, (low, high) in {"Brightness": (0.6, 1.4), "Contrast": (0.8, 1.2), "Color": (0.0, 2.5)}.items():
        assert low <= min(values[name]) < low + 0.01 * high
        assert 0.99 * high < max(values[name]) <= high
        assert abs(np.mean(values[name]) - (low + high) / 2) < 0.03 * high
    turns = [step.value for draw in draws for step in draw if step.name == "Hue"]
    assert len(turns) == 2000
    assert -0.1 <= min(turns) < 0 < max(turns) <= 0.1
    assert len({tuple(step.name for step in draw[-4:]) for draw in draws}) == 24
    grey = [draw[0] == Operation("Color", 0.0) for draw in draws]
    assert abs(np.mean(grey) - 0.25) < 0.04
    assert {len(draw) for draw in draws} == {4, 5}
    assert ColourJitter(strengths=[0, 0, 0], hue=0.0, grey_prob=0.0).draw(rng) == []


def test_lighting_adds_one_colour_along_imagenets_directions(frames):
    cfg = get_cfg()
    vectors, spreads = cfg.DATA.TRAIN_PCA_EIGVEC, cfg.DATA.TRAIN_PCA_EIGVAL
    lighting = PCALighting(std=0.1, spreads=spreads, vectors=vectors)
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(1500):
        clip = torch.full((3, 1, 2, 2), 128, dtype=torch.uint8)
        lighting(clip, rng)
        assert torch.equal(clip, clip[..., :1, :1].expand_as(clip))
        shifts.append(clip[:, 0, 0, 0].numpy().astype(float) - 128)
    directions = np.array(vectors) * np.array(spreads) * 0.1 * 255
    expected = directions @ directions.T
    assert np.abs(np.mean(shifts, 0)).max() < 0.6
    assert np.abs(np.cov(np.array(shifts).T) - expected).max() < 0.1 * expected.max()
    dark = torch.zeros(3, 1, 1, 1, dtype=torch.uint8)
    PCALighting(std=1e6, spreads=spreads, vectors=vectors)(dark, rng)
    assert set(dark.flatten().tolist()) <= {0, 255}  # cut, not wrapped


def test_clips_without_colours_are_refused_colour_changes():
    two = ("DATA.INPUT_CHANNEL_NUM", [2, 2], "DATA.MEAN", [0, 0], "DATA.STD", [1, 1], "AUG.ENABLE", True)
    with pytest.raises(ValueError, match=r"2 channels .*Set AUG\.AA_TYPE ''"):
        view_of(*two)
    view = view_of(*two, "AUG.AA_TYPE", "", "AUG.RE_PROB", 1.0)
    assert clip_of(view, np.zeros((4, 48, 64, 2), np.uint8)).shape == (2, 4, 32, 32)


def test_only_names_with_the_words_left_or_right_are_handed():
    names = ["Moving something from LEFT to right", "bright light", "upright", "right-hand wave", "leftover", "none"]
    assert handed_labels(names) == {0, 3}
