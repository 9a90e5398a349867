import numpy as np
import pytest
import torch
from PIL import Image

from slowfast.datasets import VideoError, build_dataset, check_videos, warn_mirrored_directions

LENGTHS = (41, 9, 30)


@pytest.fixture
def folders(tmp_path):
    """Frame folders whose frame number i (from 0) is a red of i, a green of 100 and a blue of 200."""
    lines = []
    for number, length in enumerate(LENGTHS):
        folder = tmp_path / f"folder {number}"
        folder.mkdir()
        for i in range(length):
            image = np.full((32, 40, 3), (i, 100, 200), np.uint8)
            Image.fromarray(image).save(folder / f"img_{i + 1:05d}.png")
        lines.append(f"folder {number} {length} {number}\n")
    for split in ("train", "validation", "val"):
        (tmp_path / f"list_{split}.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def frame_cfg(data_cfg, folders):
    def make(name, *options):
        return data_cfg(
            *("TRAIN.DATASET", name, "TEST.DATASET", name, "DATA.PATH_PREFIX", str(folders)),
            *("DATA.IMAGE_TEMPLATE", "img_{:05d}.png", "DATA.LABEL_PATH_TEMPLATE", "list_{}.txt"),
            *options,
        )

    return make


def frame_numbers(sample):
    """Which frames a clip shows: their red."""
    reds = sample.clip[0]
    assert (reds == reds[:, :1, :1]).all()
    return reds[:, 0, 0].tolist()


def test_segment_training_takes_a_random_frame_of_each_segment(frame_cfg):
    dataset = build_dataset(frame_cfg("sth"), "train")
    drawn = np.array([frame_numbers(dataset[(epoch, 0)][0]) for epoch in range(60)])
    assert (drawn >= [0, 10, 20, 30]).all()
    assert (drawn <= [10, 20, 30, 40]).all()
    assert len(np.unique(drawn[:, 0])) > 5


def test_segment_views_differ_and_validation_takes_the_middles(frame_cfg):
    assert frame_numbers(build_dataset(frame_cfg("sth"), "val")[0][0]) == [5, 15, 25, 35]
    dataset = build_dataset(frame_cfg("sth"), "test")
    assert [frame_numbers(dataset[0][view]) for view in (0, 3)] == [[3, 13, 23, 33], [6, 16, 26, 36]]


def test_dense_clips_of_frames_follow_the_rule_of_videos(frame_cfg):
    # 41 frames, a clip of 12: slack 29.
    assert frame_numbers(build_dataset(frame_cfg("hmdb"), "val")[0][0]) == [14, 17, 21, 25]
    dataset = build_dataset(frame_cfg("hmdb"), "test")
    assert [frame_numbers(dataset[0][view]) for view in (0, 3)] == [[0, 3, 7, 11], [14, 18, 21, 25]]
    dataset = build_dataset(frame_cfg("hmdb", "DATA.USE_OFFSET_SAMPLING", True), "test")
    assert [frame_numbers(dataset[0][view])[0] for view in (0, 3)] == [0, 29]
    starts = {frame_numbers(build_dataset(frame_cfg("hmdb"), "train")[(epoch, 0)][0])[0] for epoch in range(20)}
    assert len(starts) > 5


def column_images(folder, width):
    """Images whose green is the column, beside the frame's number in red."""
    for i, path in enumerate(sorted(folder.iterdir())):
        image = np.full((32, width, 3), (i, 0, 200), np.uint8)
        image[..., 1] = np.arange(width)
        Image.fromarray(image).save(path)


@pytest.mark.parametrize(("views", "numbers"), [(1, [5, 15, 25, 35]), (2, [3, 13, 23, 33]), (-1, [0, 10, 20, 30])])
def test_random_validation_of_segments_crops_the_first_test_clip_at_random(frame_cfg, folders, views, numbers):
    column_images(folders / "folder 0", 60)
    jitter = ("DATA.TRAIN_JITTER_SCALES", [32, 32], "DATA.TEST_CROP_SIZE", 48)
    cfg = frame_cfg("sth", "DATA.VAL_VIEW", "random", "TEST.NUM_ENSEMBLE_VIEWS", views, *jitter)
    dataset = build_dataset(cfg, "val")
    samples = [dataset[(epoch, 0)] for epoch in range(40)]
    assert {len(sample) for sample in samples} == {1}
    assert all(frame_numbers(sample[0]) == numbers for sample in samples)
    edges = [(clip[1, 0, 0, 0].item(), clip[1, 0, 0, -1].item()) for clip in (sample[0].clip for sample in samples)]
    assert {abs(left - right) for left, right in edges} == {31}  # TRAIN_CROP_SIZE of the 60 columns
    assert 10 < sum(left > right for left, right in edges) < 30  # mirrored
    assert len({min(edge) for edge in edges}) > 10


@pytest.mark.parametrize(("views", "offset"), [(2, False), (2, True), (1, True), (-1, False)])
def test_random_validation_of_dense_folders_is_the_first_test_view(frame_cfg, folders, views, offset):
    column_images(folders / "folder 0", 60)
    options = ("TEST.NUM_ENSEMBLE_VIEWS", views, "DATA.USE_OFFSET_SAMPLING", offset, "DATA.TEST_CROP_SIZE", 24)
    cfg = frame_cfg("hmdb", "DATA.VAL_VIEW", "random", *options)
    val, test = build_dataset(cfg, "val"), build_dataset(cfg, "test")
    assert len(val[0]) == 1
    (sample,) = val[(5, 0)]
    assert frame_numbers(sample) == ([14, 17, 21, 25] if views == 1 else [0, 3, 7, 11])
    assert sample.clip.shape == (3, 4, 24, 24)
    assert sample.clip[1, 0, 0, 0] == 0  # the left end
    assert torch.equal(sample.clip, test[0][0].clip)


def test_short_folders_repeat_their_last_frame(frame_cfg):
    assert frame_numbers(build_dataset(frame_cfg("hmdb"), "test")[1][0]) == [0, 3, 7, 8]


def test_one_crop_is_the_centre_for_frame_folders_too(frame_cfg, folders):
    for path in (folders / "folder 0").iterdir():
        image = np.zeros((32, 96, 3), np.uint8)
        image[:, 32:64] = 255
        Image.fromarray(image).save(path)
    dataset = build_dataset(frame_cfg("sth", "TEST.NUM_SPATIAL_CROPS", 1), "test")
    assert (dataset[0][0].clip == 255).all()


def test_frames_are_rgb_and_bgr_if_asked_for(frame_cfg):
    assert build_dataset(frame_cfg("sth"), "val")[0][0].clip[:, 0, 0, 0].tolist() == [5, 100, 200]
    reverse = frame_cfg("sth", "DATA.REVERSE_INPUT_CHANNEL", True)
    assert build_dataset(reverse, "val")[0][0].clip[:, 0, 0, 0].tolist() == [200, 100, 5]


@pytest.mark.parametrize(("name", "split_name"), [("sth", "validation"), ("hmdb", "val")])
def test_the_list_name_holds_the_split_as_upstream_calls_it(frame_cfg, name, split_name):
    for split, in_name in (("train", "train"), ("val", split_name), ("test", split_name)):
        assert build_dataset(frame_cfg(name), split).list_path.name == f"list_{in_name}.txt"


def test_a_missing_or_broken_image_makes_the_video_unreadable(frame_cfg, folders):
    dataset = build_dataset(frame_cfg("sth"), "val")
    check_videos(dataset, -1)
    (folders / "folder 1" / "img_00009.png").unlink()
    (folders / "folder 2" / "img_00001.png").write_text("no image")
    with pytest.raises(VideoError, match="2 of the 3 videos") as caught:
        check_videos(dataset, -1)
    assert "no image img_00009.png" in str(caught.value)
    (folders / "folder 0" / "img_00006.png").unlink()
    (sample,) = dataset[0]
    assert not sample.valid


def test_images_of_different_sizes_make_the_video_unreadable(frame_cfg, folders):
    Image.new("RGB", (20, 20)).save(folders / "folder 0" / "img_00006.png")
    assert not build_dataset(frame_cfg("sth"), "val")[0][0].valid


def test_grey_and_transparent_images_become_rgb(frame_cfg, folders):
    Image.new("L", (40, 32), 7).save(folders / "folder 0" / "img_00006.png")
    Image.new("RGBA", (40, 32), (1, 2, 3, 255)).save(folders / "folder 0" / "img_00016.png")
    clip = build_dataset(frame_cfg("sth"), "val")[0][0].clip
    assert clip[:, :2, 0, 0].T.tolist() == [[7, 7, 7], [1, 2, 3]]


def test_mirroring_without_the_names_of_directions_is_warned_of(frame_cfg, folders):
    assert "DATA.RANDOM_FLIP False" in warn_mirrored_directions(frame_cfg("sth"))
    for options in (("sth", "DATA.RANDOM_FLIP", False), ("sth", "TRAIN.ENABLE", False), ("hmdb",)):
        assert warn_mirrored_directions(frame_cfg(*options)) is None
    (folders / "classes.json").write_text('{"Pushing something from left to right": 1}')
    assert warn_mirrored_directions(frame_cfg("sth")) is None
    assert build_dataset(frame_cfg("sth"), "train").random_view.kept_labels == {1}


@pytest.mark.parametrize("template", ["image.png", "{:05d}_{}.png", "{name}.png", "{:05d.png"])
def test_an_image_template_without_one_place_for_a_number_is_an_error(frame_cfg, template):
    with pytest.raises(ValueError, match=r"DATA\.IMAGE_TEMPLATE"):
        build_dataset(frame_cfg("sth", "DATA.IMAGE_TEMPLATE", template), "train")


def test_a_sample_depends_on_seed_epoch_and_index_alone(frame_cfg):
    first, second = (build_dataset(frame_cfg("sth"), "train")[(3, 1)][0] for _ in range(2))
    assert torch.equal(first.clip, second.clip)
