from collections import Counter

import numpy as np
import pytest

from slowfast.datasets.rand_augment import NAMES, WEIGHTS, RandAugment


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def values_of(text, name, rng, draws=4000):
    """What the operation `name` is given, over many draws of its level."""
    augment = RandAugment.from_string(text, cubic=True)
    return np.array([augment.with_value(name, rng).value for _ in range(draws)])


def test_the_strings_of_video_recipes_are_read():
    augment = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1", cubic=False)
    assert (augment.level, augment.number, augment.level_std, augment.increasing) == (7, 4, 0.5, True)
    assert (augment.prob, augment.weights, augment.cubic) == (0.5, None, False)
    augment = RandAugment.from_string("rand", cubic=True)
    assert (augment.level, augment.number, augment.level_std, augment.increasing) == (10, 2, 0, False)
    augment = RandAugment.from_string("rand-n3-w0-p0.8-inc0", cubic=True)
    assert (augment.number, augment.prob, augment.increasing) == (3, 0.8, False)
    assert sum(augment.weights) == pytest.approx(1)


@pytest.mark.parametrize(
    "text", ["augmix-m3", "rand-x5", "rand-m", "rand-m5-m6", "rand-n2.5", "rand-w1", "m9", "rand m9"]
)
def test_other_strings_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"AUG\.AA_TYPE .*rand-m7-n4-mstd0\.5-inc1"):
        RandAugment.from_string(text, cubic=True)


def test_each_of_15_operations_comes_equally_often_and_half_of_those_chosen_are_done(rng):
    augment = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1", cubic=True)
    draws = [augment.draw(rng) for _ in range(6000)]
    counts = Counter(operation.name for draw in draws for operation in draw)
    assert set(counts) == set(NAMES)
    assert len(NAMES) == 15
    # 24,000 choices, 1/15 each, half of them done: 800 each, standard deviation 28.
    assert all(abs(count - 800) < 4 * 28 for count in counts.values())
    lengths = Counter(len(draw) for draw in draws)  # binomial of 4 and 1/2
    for length, share in enumerate((1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)):
        assert abs(lengths[length] / 6000 - share) < 4 * np.sqrt(share * (1 - share) / 6000)
    assert any(len({operation.name for operation in draw}) < len(draw) for draw in draws)  # with repetition


def test_weighted_operations_come_by_their_weights_and_never_twice(rng):
    augment = RandAugment.from_string("rand-n1-p1-w0", cubic=True)
    counts = Counter(augment.draw(rng)[0].name for _ in range(10000))
    for name in NAMES:
        share = WEIGHTS.get(name, 0.0)
        assert abs(counts[name] / 10000 - share) <= 4 * np.sqrt(share * (1 - share) / 10000)
    augment = RandAugment.from_string("rand-n3-p1-w0", cubic=True)
    assert all(len({operation.name for operation in augment.draw(rng)}) == 3 for _ in range(200))


@pytest.mark.parametrize(
    ("name", "at_five", "increasing_at_five"),
    [
        ("Rotate", {-15.0, 15.0}, {-15.0, 15.0}),
        ("ShearX", {-0.15, 0.15}, {-0.15, 0.15}),
        ("ShearY", {-0.15, 0.15}, {-0.15, 0.15}),
        ("TranslateX", {-0.225, 0.225}, {-0.225, 0.225}),
        ("TranslateY", {-0.225, 0.225}, {-0.225, 0.225}),
        ("Posterize", {2}, {2}),
        ("Solarize", {128}, {128}),
        ("SolarizeAdd", {55}, {55}),
        ("Color", {1.0}, {0.55, 1.45}),
        ("Contrast", {1.0}, {0.55, 1.45}),
        ("Brightness", {1.0}, {0.55, 1.45}),
        ("Sharpness", {1.0}, {0.55, 1.45}),
        ("Invert", {None}, {None}),
    ],
)
def test_values_at_a_fixed_level_follow_the_rules(rng, name, at_five, increasing_at_five):
    for text, expected in (("rand-m5", at_five), ("rand-m5-inc1", increasing_at_five)):
        drawn = values_of(text, name, rng, 400).tolist()
        assert {value if value is None else round(value, 9) for value in drawn} == expected
        if len(expected) == 2:
            assert 140 < sum(value == drawn[0] for value in drawn) < 260  # either sign half of the time


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (90, 90)])
def test_shifts_are_shares_of_the_frames_own_width_and_height(rng, height, width):
    frames = np.zeros((1, height, width, 3), np.uint8)
    augment = RandAugment.from_string("rand-m7", cubic=True)
    for name, shift, size in (("TranslateX", 2, width), ("TranslateY", 5, height)):
        matrix = augment.with_value(name, rng).matrix(frames)  # output (x, y) shows (a x + b y + c, d x + e y + f)
        assert abs(matrix[shift]) == pytest.approx(0.45 * 0.7 * size)  # 100.8 of 320 pixels, 75.6 of 240
        assert matrix[:shift] + matrix[shift + 1 :] == ((1, 0, 0, 1, 0) if shift == 2 else (1, 0, 0, 0, 1))


def test_only_the_increasing_rules_do_more_at_a_higher_level(rng):
    for name, plain, increasing in (("Posterize", (0, 3), (4, 1)), ("Solarize", (51, 204), (205, 52))):
        for text, expected in (("rand-m{}", plain), ("rand-m{}-inc1", increasing)):
            assert tuple(values_of(text.format(level), name, rng, 1)[0] for level in (2, 8)) == expected
    assert values_of("rand-m8", "Color", rng, 1)[0] == pytest.approx(1.54)


def test_levels_are_normal_and_cut_at_0_and_10(rng):
    degrees = np.abs(values_of("rand-m7-mstd0.5", "Rotate", rng))
    assert abs(degrees.mean() - 21) < 0.1
    assert abs(degrees.std() - 1.5) < 0.1
    wide = np.abs(values_of("rand-m9-mstd2", "Rotate", rng))
    assert wide.max() == 30
    assert abs((wide == 30).mean() - 0.3085) < 0.03  # above 9 + half a standard deviation
    assert values_of("rand-m0-mstd1", "SolarizeAdd", rng).min() == 0
    # Each operation of a clip draws its own level.
    augment = RandAugment.from_string("rand-m5-n8-p1-mstd1", cubic=True)
    levels = [operation.value for _ in range(50) for operation in augment.draw(rng) if operation.name == "Color"]
    assert len(set(levels)) == len(levels)


def test_draws_are_those_of_timm_in_distribution(rng):
    timm = pytest.importorskip("timm.data.auto_augment")
    theirs = timm.rand_augment_transform("rand-m7-n4-mstd0.5-inc1", {"translate_pct": 0.45})
    ours = RandAugment.from_string("rand-m7-n4-mstd0.5-inc1", cubic=True)
    by_name = {op.name.removesuffix("Increasing").removesuffix("Rel"): op for op in theirs.ops}
    assert set(by_name) == set(NAMES)
    for name, op in by_name.items():
        if op.level_fn is None:
            continue
        levels = np.clip(rng.normal(op.magnitude, op.magnitude_std, 3000), 0, 10)
        expected = np.sort([op.level_fn(level, op.hparams)[0] for level in levels])
        drawn = np.sort([ours.with_value(name, rng).value for _ in range(3000)])
        grid = np.concatenate([expected, drawn])
        distance = np.abs(np.searchsorted(expected, grid, "right") - np.searchsorted(drawn, grid, "right")).max() / 3000
        assert distance < 0.05, name  # Kolmogorov and Smirnov's, at a level of about 0.001
    assert (theirs.num_layers, op.prob) == (ours.number, ours.prob)
