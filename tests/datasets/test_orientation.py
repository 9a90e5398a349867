"""Videos are shown as players show them: turned and mirrored by their display matrix, read and resized alike."""

import math
import struct

import numpy as np
import pytest
from PIL import Image

from slowfast.datasets.decoder import read_frames
from slowfast.datasets.readers import Reader
from slowfast.datasets.resize import resize_video

ONE = 1 << 16
EIGHT = {
    "upright": (1, 0, 0, 1),
    "mirrored left to right": (-1, 0, 0, 1),
    "mirrored top to bottom": (1, 0, 0, -1),
    "turned by 180 degrees": (-1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "turned clockwise": (0, 1, -1, 0),
    "turned counter-clockwise": (0, -1, 1, 0),
    "transposed over the other diagonal": (0, -1, -1, 0),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory, write_video):
    """A video without a matrix of its own."""
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    write_video(path, 14, size=(96, 144))
    return path


def with_matrix(plain, path, a, b, c, d):
    """The file `plain` as `path`, its track's matrix (ISO 14496-12, 6.2.2) one that takes (x, y) to (ax+cy, bx+dy)."""
    content = bytearray(plain.read_bytes())
    matrix = [round(value * ONE) for value in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, *matrix, 1 << 30)
    path.write_bytes(content)
    return path


def shown(frames, a, b, c, d):
    """Every pixel of frames [T, H, W, 3] where the matrix takes it."""
    y, x = np.indices(frames.shape[1:3])
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    images = np.zeros((len(frames), rows.max() + 1, columns.max() + 1, 3), np.uint8)
    images[:, rows, columns] = frames
    return images


@pytest.mark.parametrize("matrix", EIGHT.values(), ids=EIGHT)
def test_frames_are_turned_and_mirrored_as_players_do(plain, tmp_path, matrix):
    path = with_matrix(plain, tmp_path / "video.mp4", *matrix)
    for short_side in (0, 48):
        frames = read_frames(str(plain), [0, 3, 13], short_side=short_side)
        assert np.array_equal(read_frames(str(path), [0, 3, 13], short_side=short_side), shown(frames, *matrix))


@pytest.mark.parametrize("matrix", EIGHT.values(), ids=EIGHT)
def test_torchcodec_shows_frames_alike(plain, tmp_path, matrix):
    pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError, OSError))
    path = with_matrix(plain, tmp_path / "video.mp4", *matrix)
    for short_side in (0, 48):
        reader = Reader("torchcodec", short_side=short_side)
        frames = reader.read(str(plain), np.array([0, 3, 13]))
        found, expected = reader.read(str(path), np.array([0, 3, 13])), shown(frames, *matrix).astype(int)
        assert np.abs(found - expected).max() <= 1  # shrunk after it was turned


@pytest.mark.parametrize("matrix", EIGHT.values(), ids=EIGHT)
def test_resized_videos_are_stored_as_they_are_shown(plain, tmp_path, matrix):
    source, target = with_matrix(plain, tmp_path / "video.mp4", *matrix), tmp_path / "small.mp4"
    assert resize_video(source, target, 48, 12) is None
    expected = shown(read_frames(str(plain), [0, 3, 13], short_side=48), *matrix)
    found = read_frames(str(target), [0, 3, 13])
    assert found.shape == expected.shape
    distance = np.abs(found - expected.astype(int)).mean()
    others = [shown(expected, *other) for name, other in EIGHT.items() if name != "upright"]
    assert distance < 20 < min(np.abs(found - o.astype(int)).mean() for o in others if o.shape == found.shape)


def test_a_photo_with_exif_is_a_frame(tmp_path):
    """PyAV knows no name of FFmpeg's side data for it."""
    image = Image.new("RGB", (64, 48), (200, 0, 0))
    exif = image.getexif()
    exif[271] = "a camera"
    image.save(tmp_path / "photo.jpg", exif=exif)
    frames = read_frames(str(tmp_path / "photo.jpg"), np.arange(1))
    assert frames.shape == (1, 48, 64, 3)
    assert resize_video(tmp_path / "photo.jpg", tmp_path / "small.mp4", 24, 12) is None


def turned(degrees, mirrored=1, scale=1.0):
    """A matrix that mirrors left to right (-1) or not, then turns clockwise and scales."""
    cosine, sine = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return mirrored * cosine, mirrored * sine, -sine, cosine


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (turned(0, scale=2.0), "upright"),
        (turned(90, scale=0.5), "turned clockwise"),
        (turned(30), "upright"),
        (turned(60), "turned clockwise"),
        (turned(100), "turned clockwise"),
        (turned(200), "turned by 180 degrees"),
        (turned(-80), "turned counter-clockwise"),
        (turned(10, mirrored=-1), "mirrored left to right"),
        (turned(95, mirrored=-1), "transposed over the other diagonal"),
        ((1, 0.25, 0, 1), "upright"),
        ((-1, 0, 0, 2), "mirrored left to right"),
        ((0, 0, 0, 0), "upright"),
        ((-1, 0, 0, 0), "upright"),
    ],
)
def test_scale_and_skew_do_not_count_and_other_angles_become_the_nearest_quarter_turn(plain, tmp_path, matrix, name):
    path = with_matrix(plain, tmp_path / "video.mp4", *matrix)
    expected = shown(read_frames(str(plain), [5]), *EIGHT[name])
    assert np.array_equal(read_frames(str(path), [5]), expected)
