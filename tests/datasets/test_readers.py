"""Frames come from video files, image folders and arrays alike, shrunk or cached or not."""

import importlib.util
import os
import shutil
from itertools import permutations

import numpy as np
import pytest
import torch
from conftest import moving_frames
from PIL import Image

from slowfast.datasets import VideoError, build_dataset, check_videos
from slowfast.datasets.decode_cache import DecodeCache
from slowfast.datasets.decoder import read_frames
from slowfast.datasets.folders import natural
from slowfast.datasets.readers import PyAV, Reader, build_reader

FRAMES = moving_frames(20, 48, 64)


@pytest.fixture
def sources(tmp_path, write_video):
    """The same 20 frames as a video, a folder of png, an .npy, and two kinds of .npz."""
    write_video(tmp_path / "video.mp4", 20)
    folder = tmp_path / "images"
    folder.mkdir()
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f"frame {number:03d}.PNG")
    (folder / "notes.txt").write_text("no frame")
    np.save(tmp_path / "array.npy", FRAMES)
    np.savez(tmp_path / "one.npz", FRAMES)
    np.savez_compressed(tmp_path / "named.npz", frames=FRAMES, labels=np.zeros(3))
    return tmp_path


@pytest.mark.parametrize("name", ["images", "array.npy", "one.npz", "named.npz"])
def test_folders_and_arrays_give_their_frames(sources, name):
    reader, path = Reader("pyav"), str(sources / name)
    info = reader.probe(path)
    assert (info.num_frames, info.fps, info.height, info.width) == (20, None, 48, 64)
    assert np.array_equal(reader.read(path, [19, 0, 0, 7]), FRAMES[[19, 0, 0, 7]])
    shrunk = Reader("pyav", short_side=24).read(path, [3])
    assert shrunk.shape == (1, 24, 32, 3)
    assert np.abs(shrunk - FRAMES[[3], ::2, ::2].astype(float)).mean() < 20
    for indices in ([20], [-1], []):
        with pytest.raises(VideoError, match="it has 20"):
            reader.read(path, indices)


@pytest.mark.parametrize("template", ["{}.png", "frame {}.jpg", "v1_{:02d}_0.png", "img_{:05d}.jpg", "2024-1-{}.png"])
def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path, template):
    for number in range(1, 13):
        Image.new("RGB", (16, 8), (20 * number,) * 3).save(tmp_path / template.format(number))
    frames = Reader("pyav").read(str(tmp_path), range(12))
    assert (frames[:, 4, 8, 0].astype(int) // 19).tolist() == list(range(1, 13))


def test_names_that_differ_in_leading_zeros_alone_are_in_a_fixed_order():
    names = ["1.png", "01.png", "001.png", "2.png", "1a.png", "².png"]
    orders = {tuple(sorted(order, key=natural)) for order in permutations(names)}
    assert sorted(["10", "9", "a2", "a10", "a1b2"], key=natural) == ["9", "10", "a1b2", "a2", "a10"]
    assert orders == {("001.png", "01.png", "1.png", "1a.png", "2.png", "².png")}


def test_hidden_files_and_folders_are_no_frames(tmp_path):
    for number in range(3):
        Image.new("RGB", (16, 8)).save(tmp_path / f"{number}.jpg")
    (tmp_path / "._1.jpg").write_bytes(b"\0\5\x16\7 metadata that macOS puts beside a file")
    (tmp_path / "x.jpg").mkdir()
    assert Reader("pyav").probe(str(tmp_path)).num_frames == 3
    assert Reader("pyav").read(str(tmp_path), [0, 1, 2]).shape == (3, 8, 16, 3)
    (tmp_path / "3.jpg").symlink_to(tmp_path / "gone.jpg")  # a frame that is missing, not one less
    with pytest.raises(VideoError, match=r"3\.jpg"):
        Reader("pyav").read(str(tmp_path), [3])


def test_one_list_may_name_all_kinds_and_without_a_frame_rate_frames_count(sources, data_cfg):
    names = ("video.mp4", "images", "array.npy", "named.npz")
    (sources / "val.csv").write_text("".join(f"{sources / name} {label}\n" for label, name in enumerate(names)))
    # 25 frames a second against 50: the video's clip is half as long; the others have no rate.
    dataset = build_dataset(data_cfg("DATA.DECODING_BACKEND", "pyav", "DATA.TARGET_FPS", 50), "val")
    check_videos(dataset, -1)
    clips = [dataset[index][0] for index in range(4)]
    assert [sample.label for sample in clips] == [0, 1, 2, 3]
    assert torch.equal(clips[1].clip, clips[2].clip)
    assert torch.equal(clips[2].clip, clips[3].clip)
    plain = build_dataset(data_cfg(), "val")
    assert torch.equal(plain[2][0].clip, clips[2].clip)
    assert not torch.equal(plain[0][0].clip, clips[0].clip)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npy", FRAMES[..., 0], "not uint8"),
        ("b.npy", FRAMES.astype(np.float32), "float32"),
        ("c.npz", {"a": FRAMES, "b": FRAMES}, "which of its arrays"),
        ("d.npy", "text", "not a readable array"),
        ("e.npz", "text", "not a readable array"),
        ("f.npy", None, "not a readable array"),
        ("g", [], "no image"),
        ("h", [(48, 64), (48, 32)], "different sizes"),
    ],
)
def test_what_holds_no_frames_is_a_video_error(tmp_path, name, content, reason):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, list):
        path.mkdir()
        for number, size in enumerate(content):
            Image.new("RGB", size).save(path / f"{number}.jpg")
    with pytest.raises(VideoError, match=reason):
        Reader("pyav").read(str(path), [0, 1])


def test_sparse_clips_of_videos_take_one_frame_of_each_segment(sources, data_cfg):
    (sources / "train.csv").write_text(f"{sources / 'array.npy'} 1\n")
    shutil.copy(sources / "train.csv", sources / "test.csv")
    options = ("TRAIN.DATASET", "kinetics_sparse", "TEST.DATASET", "kinetics_sparse", "DATA.TRAIN_CROP_SIZE", 48)
    options += ("DATA.TEST_CROP_SIZE", 48, "DATA.TRAIN_JITTER_SCALES", [48, 48], "DATA.RANDOM_FLIP", False)
    dataset = build_dataset(data_cfg(*options), "train")
    drawn = set()
    for epoch in range(30):
        numbers = dataset.indices(dataset.reader.probe(dataset.entries[0].path), 0, np.random.default_rng(epoch))
        assert (numbers >= [0, 5, 10, 14]).all()
        assert (numbers <= [5, 10, 14, 19]).all()
        drawn.add(tuple(numbers.tolist()))
    assert len(drawn) > 10
    assert dataset[0][0].clip.shape == (3, 4, 48, 48)
    views = build_dataset(data_cfg(*options), "test")[0]
    for view, numbers in ((1, [1, 6, 11, 15]), (4, [3, 8, 13, 17])):  # centre crops of the two clips
        expected = FRAMES[numbers][:, :, 8:56].transpose(3, 0, 1, 2)
        assert np.array_equal(views[view].clip, expected)


def test_random_validation_of_sparse_clips_crops_the_first_test_clip_at_random(sources, data_cfg):
    (sources / "val.csv").write_text(f"{sources / 'array.npy'} 1\n")
    cfg = data_cfg("TRAIN.DATASET", "kinetics_sparse", "DATA.VAL_VIEW", "random", "DATA.TRAIN_JITTER_SCALES", [48, 48])
    dataset = build_dataset(cfg, "val")
    clips = [dataset[(epoch, 0)][0].clip.numpy() for epoch in range(20)]
    # The first of two clips, as above; the crops are cut out of it without resizing.
    shown = FRAMES[[1, 6, 11, 15]].transpose(3, 0, 1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(shown, clips[0].shape)[0, 0]  # [rows, columns, C, T, H, W]
    straight, mirrored = (
        [np.argwhere((windows == clip[..., ::step]).all((2, 3, 4, 5))).tolist() for clip in clips] for step in (1, -1)
    )
    assert all(len(one) + len(other) == 1 for one, other in zip(straight, mirrored, strict=True))
    assert 4 < sum(map(len, mirrored)) < 16
    assert len({tuple(place) for places in straight + mirrored for place in places}) > 10


def test_shrinking_reaches_the_data_set(sources, data_cfg):
    (sources / "val.csv").write_text(f"{sources / 'video.mp4'} 0\n")
    dataset = build_dataset(data_cfg("DATA.DECODING_SHORT_SIZE", 32), "val")
    frames = read_frames(str(sources / "video.mp4"), [4, 7, 11, 15], short_side=32)
    assert np.array_equal(dataset[0][0].clip, frames[:, :, 5:37].transpose(3, 0, 1, 2))


@pytest.fixture
def cached(tmp_path):
    """A cache's folder and a reader with it."""
    folder = tmp_path / "cache"
    return folder, Reader("pyav", cache=DecodeCache(folder, 1e6, "full size"))


def test_a_cached_video_is_decoded_once_and_gives_the_same_frames(sources, cached, monkeypatch):
    (folder, reader), path = cached, str(sources / "video.mp4")
    expected = read_frames(path, [3, 19, 3])
    assert np.array_equal(reader.read(path, [3, 19, 3]), expected)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.delattr(PyAV, "read")
    assert np.array_equal(reader.read(path, [3, 19, 3]), expected)
    with pytest.raises(VideoError, match="it has 20"):
        reader.read(path, [20])


def test_a_replaced_video_and_other_settings_are_decoded_anew(sources, cached, write_video):
    (folder, reader), path = cached, sources / "video.mp4"
    before = reader.read(str(path), [0, 5])
    key = reader.cache.key(str(path))
    os.utime(path, ns=(1, 1))  # another file of the same size
    assert reader.cache.key(str(path)) != key
    write_video(path, 10, size=(32, 32))
    assert reader.read(str(path), [0, 5]).shape == (2, 32, 32, 3) != before.shape
    other = Reader("pyav", short_side=16, cache=DecodeCache(folder, 1e6, "short side 16"))
    assert other.read(str(path), [0]).shape == (1, 16, 16, 3)


def test_a_full_cache_takes_in_no_more_and_changes_nothing(sources, tmp_path):
    path = str(sources / "video.mp4")
    cache = DecodeCache(tmp_path / "cache", FRAMES.nbytes - 1, "")
    assert np.array_equal(Reader("pyav", cache=cache).read(path, [3]), read_frames(path, [3]))
    assert not list(cache.folder.iterdir())


def test_a_damaged_video_is_read_up_to_the_damage_and_a_damaged_cache_not_at_all(sources, cached):
    (folder, reader), path = cached, sources / "video.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    assert np.array_equal(reader.read(str(path), [0]), read_frames(str(path), [0]))
    assert not list(folder.iterdir())
    with pytest.raises(VideoError, match="frame"):
        reader.read(str(path), [19])
    path.write_bytes(content)
    reader.read(str(path), [0])
    (stored,) = folder.iterdir()
    stored.write_bytes(stored.read_bytes()[:1000])
    assert np.array_equal(reader.read(str(path), [0]), read_frames(str(path), [0]))
    with pytest.raises(VideoError, match="No such file"):
        reader.read(str(sources / "missing.mp4"), [0])


def test_the_config_chooses_cache_and_backend(sources, data_cfg, tmp_path):
    assert build_reader(data_cfg()).cache is None
    cfg = data_cfg("DATA.DECODE_CACHE", str(tmp_path / "cache"), "DATA.DECODE_CACHE_GB", 0.5)
    reader = build_reader(cfg)
    assert reader.cache.max_bytes == 5e8
    reader.read(str(sources / "video.mp4"), [0])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cache_of_frames_shrunk_by_the_rule_of_before_is_not_read(sources, data_cfg, tmp_path):
    path, folder = str(sources / "video.mp4"), tmp_path / "cache"

    def keys(short_side, before):
        cfg = data_cfg("DATA.DECODE_CACHE", str(folder), "DATA.DECODING_SHORT_SIZE", short_side)
        return build_reader(cfg).cache.key(path), DecodeCache(folder, 1e6, before).key(path)

    now, before = keys(29, "PyAV 29")  # 48 x 64 became 29 x 39
    assert now != before
    now, before = keys(0, "PyAV 0")  # as the file has them: still good
    assert now == before


def test_torchcodec_gives_the_same_frames_or_says_how_to_get_it(sources):
    path = str(sources / "video.mp4")
    try:
        reader = Reader("torchcodec")
    except ValueError as error:
        assert "pip install torchcodec" in str(error)
        if importlib.util.find_spec("torchcodec") is None:
            return
        pytest.skip(str(error))
    assert reader.probe(path).num_frames == 20
    difference = reader.read(path, [3, 19, 3]).astype(int) - read_frames(path, [3, 19, 3])
    assert np.abs(difference).mean() < 2  # converted to RGB by another routine
    with pytest.raises(VideoError):
        reader.read(path, [20])
    (sources / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: not a readable video"):
        reader.probe(str(sources / "text.mp4"))
