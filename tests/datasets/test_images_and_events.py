"""Data sets that are no videos: images that stand still, and frames of event counts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast.config import assert_and_infer_cfg
from slowfast.config.files import ConfigError
from slowfast.datasets import VideoError, build_dataset, build_loader, check_videos
from slowfast.datasets.lists import ListError


@pytest.fixture
def image_cfg(data_cfg, tmp_path):
    """A function of KEY VALUE pairs: two classes of images, three to train on and one to validate."""
    for split, count in (("train", 3), ("val", 1)):
        for label, name in enumerate(("n02", "n10")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = np.full((40, 60, 3), (label, number, 200), np.uint8)
                Image.fromarray(image).save(folder / f"{number}.{('png', 'PNG')[label]}")
            (folder / "notes.txt").write_text("no image")
    usual = ("TRAIN.DATASET", "imagenet", "TEST.DATASET", "imagenet", "MODEL.NUM_CLASSES", 2)
    return lambda *options: data_cfg(*usual, *options)


def test_an_image_stands_still_for_all_time_steps(image_cfg):
    dataset = build_dataset(image_cfg(), "train")
    check_videos(dataset, -1)
    assert [entry.label for entry in dataset.entries] == [0, 0, 0, 1, 1, 1]
    (sample,) = dataset[(3, 4)]
    assert sample.clip.shape == (3, 4, 32, 32)
    assert sample.clip.amax((1, 2, 3)).tolist() == sample.clip.amin((1, 2, 3)).tolist() == [1, 1, 200]
    assert torch.equal(sample.clip, dataset[(3, 4)][0].clip)
    batch = next(iter(build_loader(image_cfg(), "val")))
    assert batch.clips.shape == (2, 3, 4, 32, 32)
    views = build_dataset(image_cfg(), "test")[0]
    assert [tuple(sample.clip.shape) for sample in views] == 6 * [(3, 4, 32, 32)]


def test_a_broken_image_is_replaced_in_training_and_wrong_in_validation(image_cfg, tmp_path):
    (tmp_path / "train/n02/1.png").write_text("no image")
    (tmp_path / "val/n02/0.png").write_text("no image")
    (sample,) = build_dataset(image_cfg(), "train")[1]
    assert (sample.valid, sample.unread[0].row) == (True, 1)
    (sample,) = build_dataset(image_cfg(), "val")[0]
    assert not sample.valid
    assert sample.clip.shape == (3, 4, 32, 32)


def test_hidden_files_and_folders_are_no_images_and_no_classes(image_cfg, tmp_path):
    (tmp_path / "train/n02/._0.png").write_bytes(b"\0\5\x16\7 metadata of macOS")
    (tmp_path / "train/n02/x.png").mkdir()
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    dataset = build_dataset(image_cfg(), "train")
    assert [entry.label for entry in dataset.entries] == [0, 0, 0, 1, 1, 1]


def test_missing_folders_and_too_many_classes_are_said(image_cfg, tmp_path):
    for number in (1, 3):
        with pytest.raises(ListError, match=rf"train has folders of 2 classes and .* is {number}\. Set it to 2"):
            build_dataset(image_cfg("MODEL.NUM_CLASSES", number), "train")
    shutil.rmtree(tmp_path / "val/n02")
    assert [entry.label for entry in build_dataset(image_cfg(), "val").entries] == [1]
    (tmp_path / "val/n02").mkdir()
    with pytest.raises(ListError, match="no folders of classes"):
        build_dataset(image_cfg("DATA.PATH_TO_DATA_DIR", str(tmp_path / "val/n02")), "train")


EVENTS = ("DATA.INPUT_CHANNEL_NUM", [2, 2], "DATA.MEAN", [0, 0], "DATA.STD", [0.0039, 0.0039])


@pytest.fixture
def event_cfg(data_cfg):
    """A function of a data set's name and KEY VALUE pairs."""

    def make(name, *options):
        datasets = ("TRAIN.DATASET", name, "TEST.DATASET", name, "DATA.TRAIN_JITTER_SCALES", [32, 32])
        datasets = (*datasets, "MODEL.NUM_CLASSES", {"cifar10_dvs": 2}.get(name, 3))
        return data_cfg(*datasets, *EVENTS, "TEST.NUM_ENSEMBLE_VIEWS", 1, "DATA.RANDOM_FLIP", False, *options)

    return make


def write_recordings(folder, numbers, value, frames=4):
    """Frames of counts as SpikingJelly writes them: [T, 2, H, W]; the first pixel is more than a byte holds."""
    folder.mkdir(parents=True)
    for number in numbers:
        counts = np.full((frames, 2, 32, 32), value, np.float32)
        counts[:, 1] += 1
        counts[0, 0, 0, 0] = 1000
        np.savez(folder / f"user{number}_led_0.npz", frames=counts)


@pytest.fixture
def gestures(tmp_path):
    for split, numbers in (("train", (1, 2, 10)), ("test", (24,))):
        for label in (0, 1, 10):
            write_recordings(tmp_path / "frames_number_4_split_by_number" / split / str(label), numbers, label)
    return tmp_path


def test_event_frames_are_counts_of_both_polarities(gestures, event_cfg):
    dataset = build_dataset(event_cfg("dvs128_gesture"), "train")
    check_videos(dataset, -1)
    assert [entry.label for entry in dataset.entries] == [0] * 3 + [1] * 3 + [2] * 3  # folder 10 after 1
    (sample,) = dataset[8]
    assert sample.clip.shape == (2, 4, 32, 32)
    assert sample.clip[:, 0, 0, 0].tolist() == [255, 11]
    assert sample.clip[:, 1, 5, 5].tolist() == [10, 11]
    (val,) = build_loader(event_cfg("dvs128_gesture"), "val")
    assert val.clips.shape == (3, 2, 4, 32, 32)
    assert val.labels.tolist() == [0, 1, 2]


def test_classes_are_numbered_as_spikingjelly_does_where_that_is_set(gestures, event_cfg):
    def folders(*options, classes=4):
        cfg = event_cfg("dvs128_gesture", "MODEL.NUM_CLASSES", classes, *options)
        entries = build_dataset(assert_and_infer_cfg(cfg), "val").entries
        return [Path(entry.path).parent.name for entry in sorted(entries, key=lambda entry: entry.label)]

    three = folders(classes=3)
    assert three == folders("DATA.EVENT_CLASS_ORDER", "natural", classes=3) == ["0", "1", "10"]
    for split in ("train", "test"):
        write_recordings(gestures / "frames_number_4_split_by_number" / split / "2", (24,), 2)
    assert folders() == ["0", "1", "2", "10"]
    assert folders("DATA.EVENT_CLASS_ORDER", "spelling") == ["0", "1", "10", "2"]
    with pytest.raises(ConfigError, match=r"DATA\.EVENT_CLASS_ORDER.*natural.*spelling"):
        folders("DATA.EVENT_CLASS_ORDER", "alphabetical")


def test_recordings_to_test_have_the_labels_they_are_trained_with_where_a_class_is_not_tested(gestures, event_cfg):
    """A split that numbers its own folders would have 10 as label 1."""
    splits = gestures / "frames_number_4_split_by_number"
    shutil.rmtree(splits / "test/1")

    def labels(classes=3):
        cfg = event_cfg("dvs128_gesture", "MODEL.NUM_CLASSES", classes)
        return [entry.label for entry in build_dataset(cfg, "val").entries]

    assert labels() == [0, 2]
    write_recordings(splits / "test/wave", (24,), 0)
    with pytest.raises(ListError, match=rf"{splits}/test has folders of classes that {splits}/train has not: wave\."):
        labels()
    shutil.rmtree(splits / "test/wave")
    shutil.rmtree(splits / "train")
    with pytest.raises(ListError, match=rf"test has folders of 2 classes .* is 3\. .*, give {splits}/train a folder"):
        labels()
    for name in ("0", "1", "2", "3", "10"):
        (splits / "train" / name).mkdir(parents=True)
    assert labels(5) == [0, 4]


def test_hidden_files_and_folders_are_no_recordings_and_no_classes(gestures, event_cfg):
    split = gestures / "frames_number_4_split_by_number/test"
    (split / "0" / "._user24_led_0.npz").write_bytes(b"\0\5\x16\7 metadata of macOS")
    (split / "0" / "x.npz").mkdir()
    write_recordings(split / ".ipynb_checkpoints", (24,), 0)
    entries = build_dataset(event_cfg("dvs128_gesture"), "val").entries
    assert [Path(entry.path).parent.name for entry in entries] == ["0", "1", "10"]


def test_a_set_without_a_split_gives_the_first_tenth_of_each_class_to_testing(tmp_path, event_cfg):
    for label, name in enumerate(("airplane", "bird")):
        write_recordings(tmp_path / "frames_number_4_split_by_number" / name, range(20), label)
    train, test = (build_dataset(event_cfg("cifar10_dvs"), split) for split in ("train", "test"))
    names = [entry.path.rsplit("/", 1)[1] for entry in test.entries]
    assert names == ["user0_led_0.npz", "user1_led_0.npz"] * 2
    assert not {entry.path for entry in train.entries} & {entry.path for entry in test.entries}
    assert train.num_videos == 36


def test_files_that_are_no_event_frames_are_unreadable(gestures, event_cfg):
    folder = gestures / "frames_number_4_split_by_number/test/0"
    no_counts = [{"frames": np.full((4, 2, 32, 32), value)} for value in (np.nan, -1.0)]
    for content in ({"events": np.zeros(3)}, {"frames": np.zeros((5, 2, 32, 32))}, *no_counts, None):
        if content:
            np.savez(folder / "user24_led_0.npz", **content)
        else:
            (folder / "user24_led_0.npz").write_bytes(b"")
        dataset = build_dataset(event_cfg("dvs128_gesture"), "val")
        with pytest.raises(VideoError, match="1 of the 3 videos"):
            check_videos(dataset, -1)
        assert dataset[0][0].clip.shape == (2, 4, 32, 32)


def test_settings_for_videos_are_refused(gestures, event_cfg):
    with pytest.raises(ValueError, match=r"Set DATA\.INPUT_CHANNEL_NUM \[2,2\] DATA\.MEAN \[0,0\]"):
        build_dataset(event_cfg("dvs128_gesture", "DATA.MEAN", [0.45] * 3), "train")
    with pytest.raises(ValueError, match=r"Set TEST\.NUM_ENSEMBLE_VIEWS 1"):
        build_dataset(event_cfg("dvs128_gesture", "TEST.NUM_ENSEMBLE_VIEWS", 5), "test")


def test_recordings_are_integrated_on_first_use_or_what_is_missing_is_said(tmp_path, event_cfg):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(2):
            folder = tmp_path / "events_np" / split / str(label)
            folder.mkdir(parents=True)
            events = {"t": np.sort(rng.integers(0, 10**6, 400))}
            events |= {axis: rng.integers(0, 128, 400) for axis in "xy"} | {"p": rng.integers(0, 2, 400)}
            np.savez(folder / "user01_led_0.npz", **events)
    cfg = event_cfg("dvs128_gesture", "DATA.TRAIN_CROP_SIZE", 128, "MODEL.NUM_CLASSES", 2)
    try:
        dataset = build_dataset(cfg, "val")
    except ListError as error:
        assert "needs torchaudio" in str(error)
        pytest.skip(str(error))
    (sample,) = dataset[0]
    assert sample.clip.shape == (2, 4, 128, 128)
    assert sample.clip.sum((0, 2, 3)).tolist() == [100] * 4
