"""The embedded data set `motion`: only the motion tells the class, and its files are written once, alike and whole."""

import hashlib
import json
import multiprocessing
import resource
from dataclasses import replace

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from slowfast.datasets import VideoError, build_dataset, build_loader, check_videos
from slowfast.datasets.decoder import probe
from slowfast.datasets.lists import read_video_list
from slowfast.datasets.motion import Motion, write_motion
from slowfast.datasets.motion_scene import (
    CLASSES,
    EASY,
    HARD,
    OUTER_X,
    WIDTH,
    render_clip,
    state_tracks,
    training_style,
)
from slowfast.datasets.motion_sheet import draw_sheet

FEW = {"train": 32, "val": 8, "test": 8}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_motion(tmp_path_factory.mktemp("written") / "motion", counts=FEW, seed=3, workers=2)


def digests(root, pattern="*/*"):
    """File name within `root` -> SHA-256 of its bytes."""
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.glob(pattern))}


# What can be seen in a frame


def look(frames):
    """Frames [N, H, W, 3] -> [N, 4]: mean height and area of what is bright, in the middle and at the sides."""
    gray = frames.astype(np.float32).mean(3)
    bright = gray > np.median(gray, (1, 2), keepdims=True) + 50
    rows = np.arange(gray.shape[1])[:, None]
    half = int(OUTER_X / 2)
    middle = slice(WIDTH // 2 - half, WIDTH // 2 + half)
    sides = np.r_[: WIDTH // 2 - half, WIDTH // 2 + half : WIDTH]
    columns = []
    for part in (bright[..., middle], bright[..., sides]):
        area = part.sum((1, 2)) + 1e-3
        columns += [(part * rows).sum((1, 2)) / area, np.log(area)]
    return np.stack(columns, 1)


def describe(frames):
    """Frames [N, H, W, 3] -> [N, F]: `look`, its products, and the frame in blocks of 8 pixels."""
    seen = look(frames)
    seen = (seen - seen.mean(0)) / seen.std(0)
    products = np.einsum("ni,nj->nij", seen, seen)[:, *np.triu_indices(4)]
    blocks = frames.astype(np.float32).mean(3).reshape(len(frames), 9, 8, 12, 8).mean((2, 4)).reshape(len(frames), -1)
    return np.concatenate([seen, products, (blocks - blocks.mean()) / blocks.std()], 1)


def accuracy(features, labels, num_train, ridge=30.0):
    """Test accuracy of least squares with L2 penalty on one-hot labels, fitted to the first `num_train` rows."""
    x = np.concatenate([features, np.ones((len(features), 1))], 1)
    fit, rest = slice(num_train), slice(num_train, None)
    weights = np.linalg.solve(x[fit].T @ x[fit] + ridge * np.eye(x.shape[1]), x[fit].T @ np.eye(8)[labels[fit]])
    return ((x[rest] @ weights).argmax(1) == labels[rest]).mean()


@pytest.fixture(scope="module")
def pairs():
    """800 pairs of frames [N, 2, H, W, 3], 2 / 15 s apart, from clips of their own, and their labels."""
    labels = np.arange(800) % 8
    clips = [render_clip(np.random.default_rng((5, i)), y, EASY, 7.5, num_frames=2) for i, y in enumerate(labels)]
    return np.stack(clips), labels


def test_a_single_frame_does_not_tell_the_class_but_two_in_order_do(pairs):
    frames, labels = pairs
    first, second = (describe(frames[:, t]) for t in range(2))
    # Chance is 0.125, with a standard error of 0.019 on 300 test frames.
    assert accuracy(first, labels, 500) < 0.19
    assert accuracy(second, labels, 500) < 0.19
    # The sign of a change, as its mean is zero in every class too: many small steps and one jump back.
    change = look(frames[:, 1]) - look(frames[:, 0])
    sign = np.sign(change) * (abs(change) > 0.2 * change.std(0))
    assert accuracy(np.concatenate([first, 5 * sign], 1), labels, 500) > 0.65


def test_what_a_frame_shows_is_distributed_alike_in_all_classes(pairs):
    frames, labels = pairs
    seen = look(frames[:, 1])
    everywhere, error = seen.mean(0), seen.std(0) / np.sqrt(100)
    for label in range(8):
        of_class = seen[labels == label]
        assert (abs(of_class.mean(0) - everywhere) < 4 * error).all(), CLASSES[label]
        assert (abs(of_class.std(0) / seen.std(0) - 1) < 0.3).all(), CLASSES[label]


@pytest.mark.parametrize("style", [EASY, HARD], ids=["motion", "motion_hard"])
@pytest.mark.parametrize("label", range(8), ids=CLASSES)
def test_every_state_variable_is_uniform_at_every_instant_in_every_class(label, style):
    seconds = np.array([0.0, 0.3, 1.1])
    rng = np.random.default_rng(label)
    states = np.stack([state_tracks(rng, label, style, seconds) for _ in range(3000)])  # [N, 4, T]
    shares = np.stack([(states < edge).mean(0) for edge in (0.1, 0.3, 0.5, 0.7, 0.9)])
    assert abs(shares - np.array([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None]).max() < 0.04


@pytest.mark.parametrize(
    "label", range(0, 8, 2), ids=[f"{a}, {b}" for a, b in zip(CLASSES[::2], CLASSES[1::2], strict=True)]
)
def test_partners_are_each_others_time_reversal(label):
    seconds = np.linspace(0, 0.5, 6)
    style = replace(EASY, period=(0.8, 0.8))
    rise, fall = (state_tracks(np.random.default_rng(7), y, style, seconds) for y in (label, label + 1))
    moved = np.diff(np.unwrap(rise, period=1), axis=1), np.diff(np.unwrap(fall, period=1), axis=1)
    np.testing.assert_allclose(moved[0], -moved[1], atol=1e-6)
    assert (abs(moved[0]).max(1) > 0).tolist() == [label // 2 == i for i in range(4)]


# Clips of the training split


@pytest.mark.parametrize("label", range(8), ids=CLASSES)
def test_in_a_centered_clip_only_what_moves_is_not_in_the_middle(label):
    seconds = np.array([0.0, 0.3, 1.1])
    rng = np.random.default_rng(label)
    states = np.stack([state_tracks(rng, label, replace(EASY, centered=True), seconds) for _ in range(1000)])
    resting = [i for i in range(4) if i != label // 2]
    assert (states[:, resting] == 0.5).all()
    shares = np.array([(states[:, label // 2] < edge).mean(0) for edge in (0.1, 0.5, 0.9)])
    assert abs(shares - np.array([0.1, 0.5, 0.9])[:, None]).max() < 0.06


def test_training_clips_of_motion_are_plain_and_half_of_them_centered_but_not_those_of_motion_hard():
    rng = np.random.default_rng(0)
    styles = [training_style(rng, EASY) for _ in range(1000)]
    assert abs(sum(style.centered for style in styles) - 500) < 70
    assert {replace(style, centered=False) for style in styles} == {replace(EASY, noise=0.0, background=0.0)}
    assert training_style(rng, HARD) == HARD


def test_a_plain_clip_is_one_colour_but_for_its_shapes():
    frames = render_clip(np.random.default_rng(5), 0, replace(EASY, noise=0.0, background=0.0), 30)
    assert (frames[:, 0] == frames[0, 0, 0]).all()
    assert not (frames == frames[0, 0, 0]).all()


def test_only_training_clips_are_made_easier(written):
    """A frame's upper edge has a texture and noise, unless the clip is plain."""
    plain = {
        split: [bool(decode_all(path)[:, 0].std((0, 1)).max() < 1.5) for path in (written / split).iterdir()]
        for split in FEW
    }
    assert {split: set(seen) for split, seen in plain.items()} == {"train": {True}, "val": {False}, "test": {False}}


def decode_all(path):
    """All frames of a file, [T, H, W, 3] uint8."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# The files


def test_lists_are_balanced_and_in_the_kinetics_format(written):
    classes = json.loads((written / "classes.json").read_text())
    assert classes == {name: i for i, name in enumerate(CLASSES)}
    for split, count in FEW.items():
        entries = read_video_list(written / f"{split}.csv", num_classes=8)
        assert np.bincount([entry.label for entry in entries]).tolist() == [count // 8] * 8
        assert all((info.num_frames, info.height, info.width) == (40, 72, 96) for info in map(probe_entry, entries))


def probe_entry(entry):
    return probe(entry.path)


def test_three_quarters_are_h264_with_b_frames_and_one_quarter_is_mpeg4(written):
    codecs = []
    for path in sorted((written / "train").iterdir()):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            kinds = {PictureType(frame.pict_type).name for frame in container.decode(stream)}
            codecs.append((path.suffix, stream.codec_context.name))
            assert ("B" in kinds) == (path.suffix == ".mp4"), path
    assert codecs.count((".mp4", "h264")) == 24
    assert codecs.count((".avi", "mpeg4")) == 8


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(written, tmp_path):
    again = write_motion(tmp_path / "again", counts=FEW, seed=3, workers=1)
    assert digests(again) == digests(written)


def test_splits_and_seeds_share_no_video(written, tmp_path):
    other = write_motion(tmp_path / "other", counts={"train": 8}, seed=4, workers=1)
    videos = list(digests(written).values()) + list(digests(other).values())
    assert len(videos) == 48 + 8
    assert len(set(videos)) == len(videos)


@pytest.fixture
def motion_cfg(data_cfg, tmp_path, monkeypatch):
    """A config that trains on `motion` and tests on `motion_hard`, in a folder where nothing is yet; few clips."""
    monkeypatch.setattr(Motion, "counts", FEW)
    return data_cfg(
        *("DATA.PATH_TO_DATA_DIR", str(tmp_path / "motion"), "MODEL.NUM_CLASSES", 8, "TRAIN.BATCH_SIZE", 4),
        *("TRAIN.DATASET", "motion", "TEST.DATASET", "motion_hard"),
    )


def test_a_video_is_written_when_it_is_first_read_and_not_before(motion_cfg, tmp_path):
    root = tmp_path / "motion"
    dataset = build_dataset(motion_cfg, "val")
    check_videos(dataset, -1)
    assert dataset.num_videos == 8
    assert not list(root.glob("*/*"))
    [sample] = dataset[3]
    assert sample.valid and sample.label == 3
    before = stamps(root)
    assert dataset[3][0].clip.equal(sample.clip)
    assert stamps(root) == before
    assert digests(root).keys() == {"val/00003.mp4"}
    assert digests(root).items() <= digests(write_motion(tmp_path / "at once", counts=FEW, workers=1)).items()


def test_batches_are_the_same_whether_videos_are_written_before_or_as_they_are_read(motion_cfg, tmp_path):
    motion_cfg.DATA_LOADER.NUM_WORKERS = 2
    as_read = list(build_loader(motion_cfg, "train"))
    assert digests(tmp_path / "motion").keys() == {f"train/{i:05d}.{'avi' if i > 23 else 'mp4'}" for i in range(32)}
    before = list(build_loader(motion_cfg, "train"))
    assert len(before) == len(as_read) == 8
    for one, other in zip(as_read, before, strict=True):
        assert one.clips.equal(other.clips) and one.video.equal(other.video) and one.valid.all()


def test_a_video_that_cannot_be_written_is_told_as_one_that_cannot_be_read(motion_cfg, tmp_path):
    dataset = build_dataset(motion_cfg, "train")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(VideoError, match=r"train/00005\.mp4: cannot be written \(File too large\)"):
            dataset.info(dataset.entries[5])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "motion" / "train").iterdir())
    assert dataset.info(dataset.entries[5]).num_frames == 40


def test_a_video_that_has_become_unreadable_is_found_before_the_run(motion_cfg, tmp_path):
    dataset = build_dataset(motion_cfg, "val")
    dataset.frames_of(dataset.entries[2], np.array([0]))
    (tmp_path / "motion" / "val" / "00002.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"val\.csv:3: .*not a readable video"):
        check_videos(build_dataset(motion_cfg, "val"), -1)


def test_the_data_set_keeps_what_is_there(motion_cfg, tmp_path, monkeypatch):
    build_dataset(motion_cfg, "train")[3]
    before = stamps(tmp_path / "motion")
    monkeypatch.setattr(Motion, "counts", FEW | {"train": 8})
    assert build_dataset(motion_cfg, "train").num_videos == 32
    # A run on both would lose the videos it trains on.
    with pytest.raises(FileExistsError, match=r"in another style.*\n?.*a folder of its own"):
        build_dataset(motion_cfg, "test")
    assert stamps(tmp_path / "motion") == before


def stamps(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


SMALL = {"train": 8, "val": 8}


def test_what_is_there_is_left_alone_and_what_is_missing_is_written(tmp_path):
    root = write_motion(tmp_path / "motion", counts=SMALL, workers=1)
    whole, before = digests(root), stamps(root)
    write_motion(root, counts=SMALL, workers=1)
    assert stamps(root) == before

    (root / "val" / "00002.mp4").unlink()
    write_motion(root, counts=SMALL, workers=1)
    assert digests(root) == whole
    changed = {path.relative_to(root) for path, time in stamps(root).items() if before[path] != time}
    assert {str(path) for path in changed} == {"val", "val/00002.mp4"}


def test_a_data_set_with_other_parameters_is_written_anew(tmp_path):
    root = write_motion(tmp_path / "motion", counts=SMALL, workers=1)
    write_motion(root, counts={"train": 8}, workers=1)
    assert {path.parts[-2] for path in root.glob("*/*")} == {"train"}
    assert [path.name for path in tmp_path.iterdir()] == ["motion"]


def test_the_lists_follow_a_folder_that_was_moved(tmp_path):
    root = write_motion(tmp_path / "here", counts=SMALL, workers=1)
    moved = root.rename(tmp_path / "there")
    write_motion(moved, counts=SMALL, workers=1)
    assert all(str(moved) in entry.path for entry in read_video_list(moved / "val.csv", num_classes=8))


def test_other_peoples_files_are_not_touched(tmp_path):
    (tmp_path / "train.csv").write_text("my.mp4 0\n")
    with pytest.raises(FileExistsError, match=r"holds other files.*DATA\.PATH_TO_DATA_DIR"):
        write_motion(tmp_path, counts=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_an_empty_folder_name_is_refused(data_cfg):
    cfg = data_cfg("DATA.PATH_TO_DATA_DIR", "", "TRAIN.DATASET", "motion")
    with pytest.raises(ValueError, match=r"DATA\.PATH_TO_DATA_DIR is empty"):
        build_dataset(cfg, "train")


def write_and_digest(root):
    write_motion(root, counts=SMALL, workers=1)
    return digests(root, "*/[!.]*")  # without what the other processes write just then


def test_each_of_the_processes_that_start_together_finds_whole_videos(tmp_path):
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / ".train.csv.partial").write_text("left by a process that was killed")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        seen = pool.map(write_and_digest, [tmp_path / "motion"] * 3, chunksize=1)
    alone = write_motion(tmp_path / "alone", counts=SMALL, workers=1)
    assert seen == [digests(alone)] * 3
    assert digests(tmp_path / "motion") == digests(alone)
    assert not list((tmp_path / "motion").glob("**/.*.partial"))


def test_the_sheet_is_a_picture(tmp_path):
    draw_sheet(tmp_path / "sheet.png", HARD, columns=2)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
