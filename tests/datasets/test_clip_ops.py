import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from slowfast.datasets import clip_ops
from slowfast.datasets.rand_augment import Operation, apply_and_cut
from slowfast.datasets.transform import Box, cut, whole

HEIGHT, WIDTH = 45, 60
BOX = Box(7, 11, 30, 41)


@pytest.fixture
def frames():
    """Three different frames of smooth noise with a border of sharp edges."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 9, 12, 3), np.uint8)
    images = [Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for frame in small]
    frames = np.stack([np.asarray(image) for image in images])
    frames[:, ::9, ::7] = 255 - frames[:, ::9, ::7]
    return frames


def by_pil(frames, function):
    return np.stack([np.asarray(function(Image.fromarray(frame))) for frame in frames])


def transformed(matrix, cubic):
    resample = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    grey = (128, 128, 128)
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=grey)


EQUAL_TO_PIL = {
    ("Invert", None): ImageOps.invert,
    ("Posterize", 0): lambda image: image.point(lambda value: 0),
    ("Posterize", 3): lambda image: ImageOps.posterize(image, 3),
    ("Solarize", 100): lambda image: ImageOps.solarize(image, 100),
    ("Solarize", 256): lambda image: image,
    ("Brightness", 0.37): lambda image: ImageEnhance.Brightness(image).enhance(0.37),
    ("Brightness", 1.83): lambda image: ImageEnhance.Brightness(image).enhance(1.83),
    ("Color", 1.7): lambda image: ImageEnhance.Color(image).enhance(1.7),
    ("Contrast", 0.3): lambda image: ImageEnhance.Contrast(image).enhance(0.3),
    ("Sharpness", 0.1): lambda image: ImageEnhance.Sharpness(image).enhance(0.1),
    ("Sharpness", 1.9): lambda image: ImageEnhance.Sharpness(image).enhance(1.9),
    ("Sharpness", 1.0): lambda image: image,
    ("AutoContrast", None): ImageOps.autocontrast,
    ("Equalize", None): ImageOps.equalize,
}


@pytest.mark.parametrize(("name", "value"), EQUAL_TO_PIL)
def test_operations_have_pils_numbers(frames, name, value):
    expected = by_pil(frames, EQUAL_TO_PIL[name, value])
    assert np.array_equal(Operation(name, value).apply(frames, whole(frames)), expected)
    assert np.array_equal(Operation(name, value).apply(frames, BOX), cut(expected, BOX))


@pytest.mark.parametrize("cubic", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "matrix"),
    [
        ("ShearX", 0.21, (1, 0.21, 0, 0, 1, 0)),
        ("ShearY", -0.3, (1, 0, 0, -0.3, 1, 0)),
        ("TranslateX", -0.1234, (1, 0, -0.1234 * WIDTH, 0, 1, 0)),
        ("TranslateY", 0.45, (1, 0, 0, 0, 1, 0.45 * HEIGHT)),
        ("TranslateX", 0.0, (1, 0, 0, 0, 1, 0)),
    ],
)
def test_shears_and_shifts_are_pils_to_the_rounding(frames, name, value, matrix, cubic):
    expected = by_pil(frames, transformed(matrix, cubic))
    seen = Operation(name, value, cubic).apply(frames, whole(frames))
    assert np.abs(seen.astype(int) - expected).max() <= 1
    assert (seen == expected).mean() > 0.98
    assert np.array_equal(Operation(name, value, cubic).apply(frames, BOX), cut(seen, BOX))


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 7.3, 29.0])
def test_turns_are_pils_to_the_rounding(frames, degrees):
    bicubic = Image.Resampling.BICUBIC
    expected = by_pil(frames, lambda image: image.rotate(degrees, bicubic, fillcolor=(128, 128, 128)))
    seen = Operation("Rotate", degrees).apply(frames, whole(frames))
    assert np.abs(seen.astype(int) - expected).max() <= 1
    assert (seen == expected).mean() > 0.98


def test_solarize_add_changes_dark_pixels_only(frames):
    changed = clip_ops.solarize_add(frames, 110)
    assert np.array_equal(changed, np.where(frames < 128, frames + 110, frames))


def test_a_full_turn_of_hues_is_none_and_a_third_turns_red_to_green():
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 200
    assert clip_ops.hue(red, 1 / 3)[0, 0, 0].tolist() == [0, 200, 0]
    assert np.array_equal(clip_ops.hue(red, 0.0), red)


def test_a_chain_computed_for_a_box_only_is_the_box_of_the_chain(frames):
    chains = [
        [],
        [("Invert", None), ("Brightness", 1.3)],
        [("Equalize", None), ("Invert", None)],
        [("Solarize", 90), ("Rotate", 12.0), ("Contrast", 1.6), ("Posterize", 4)],
        [("Sharpness", 1.8), ("ShearX", 0.2), ("Color", 0.4)],
        [("TranslateY", 0.3), ("AutoContrast", None), ("Sharpness", 0.2)],
        [("Rotate", -28.0), ("Brightness", 0.6), ("Sharpness", 1.9), ("ShearY", 0.3), ("Color", 1.4)],
        [("TranslateX", 0.45), ("Rotate", 30.0), ("TranslateX", 0.45), ("ShearX", -0.3), ("TranslateY", -0.45)],
    ]
    for chain in chains:
        operations = [Operation(*step) for step in chain]
        expected = frames
        for operation in operations:
            expected = operation.apply(expected, whole(expected))
        assert np.array_equal(apply_and_cut(operations, frames, BOX), cut(expected, BOX))
        assert np.array_equal(apply_and_cut(operations, frames, whole(frames)), expected)


def test_no_operation_changes_the_frames_it_was_given(frames):
    before = frames.copy()
    for name, value in [*EQUAL_TO_PIL, ("Rotate", 9.0), ("SolarizeAdd", 30), ("Hue", 0.1)]:
        Operation(name, value).apply(frames, whole(frames))
        assert np.array_equal(frames, before)


def test_frames_of_any_layout_and_number_are_transformed_alike(frames):
    turn = Operation("Rotate", 15.0)
    mirrored = frames[:, :, ::-1]
    assert np.array_equal(turn.apply(mirrored, BOX), turn.apply(mirrored.copy(), BOX))
    assert np.array_equal(turn.apply(frames[1:2], BOX), turn.apply(frames, BOX)[1:2])
    tile = np.tile(frames, (6, 1, 1, 1))
    assert np.array_equal(turn.apply(tile, BOX), np.tile(turn.apply(frames, BOX), (6, 1, 1, 1)))


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize"])
def test_histograms_of_few_values_are_treated_as_pils(name):
    function = {"AutoContrast": ImageOps.autocontrast, "Equalize": ImageOps.equalize}[name]
    rng = np.random.default_rng(0)
    for values in ([77], [0], [255], [0, 255], [30, 31], [10, 200, 210], range(0, 256, 3)):
        frames = rng.choice(np.array(values, np.uint8), (2, HEIGHT, WIDTH, 3))
        assert np.array_equal(Operation(name).apply(frames, whole(frames)), by_pil(frames, function))
