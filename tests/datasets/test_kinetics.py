import json

import av
import numpy as np
import pytest
import torch

from slowfast.datasets import (
    DATASET_REGISTRY,
    VideoError,
    build_dataset,
    build_loader,
    check_videos,
    collate,
    warn_equal_lists,
)
from slowfast.datasets.decoder import read_frames

NUM_VIDEOS = 5


@pytest.fixture
def videos(tmp_path, write_video):
    """Five short videos, in the lists of all splits with their number as label."""
    lines = []
    for number in range(NUM_VIDEOS):
        path = tmp_path / f"video {number}.{'avi' if number == 3 else 'mp4'}"
        write_video(path, 20 + number, "mpeg4" if number == 3 else "libx264", size=(48, 48 + 16 * (number % 2)))
        lines.append(f"{path} {number}\n")
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.csv").write_text("".join(lines))
    return lines


def clips_of(dataset, keys):
    return torch.stack([dataset[key][0].clip for key in keys])


def test_a_training_sample_is_a_clip_with_label_and_place(videos, data_cfg):
    dataset = build_dataset(data_cfg(), "train")
    assert len(dataset) == dataset.num_videos == NUM_VIDEOS
    (sample,) = dataset[3]
    assert sample.clip.shape == (3, 4, 32, 32)
    assert sample.clip.dtype == torch.uint8
    assert sample[1:] == (3, 3, 0, True, ())


def test_a_sample_depends_on_seed_epoch_and_index_alone(videos, data_cfg):
    dataset, again = build_dataset(data_cfg(), "train"), build_dataset(data_cfg(), "train")
    keys = [(7, index) for index in range(NUM_VIDEOS)]
    assert torch.equal(clips_of(dataset, keys), clips_of(again, keys[::-1]).flip(0))
    assert torch.equal(dataset[2][0].clip, dataset[(0, 2)][0].clip)
    assert not torch.equal(dataset[(7, 2)][0].clip, dataset[(8, 2)][0].clip)
    other_seed = build_dataset(data_cfg("RNG_SEED", 5), "train")
    assert not torch.equal(dataset[(7, 2)][0].clip, other_seed[(7, 2)][0].clip)


def test_copies_of_a_video_share_its_frames_and_are_cropped_on_their_own(videos, data_cfg):
    # Crops as large as the frame, without flips, show that the frames are the same.
    options = ("AUG.NUM_SAMPLE", 2, "DATA.RANDOM_FLIP", False)
    whole = build_dataset(data_cfg(*options, "DATA.TRAIN_JITTER_SCALES", [32, 32]), "train")
    first, second = whole[0]
    assert torch.equal(first.clip, second.clip)
    first, second = build_dataset(data_cfg(*options), "train")[0]
    assert not torch.equal(first.clip, second.clip)
    assert len(build_dataset(data_cfg(*options), "val")[0]) == 1


def test_flips_come_for_half_of_the_clips_and_only_if_asked_for(videos, data_cfg):
    options = ("DATA.TRAIN_JITTER_SCALES", [32, 32], "DATA.SAMPLING_RATE", 100)
    plain = build_dataset(data_cfg(*options, "DATA.RANDOM_FLIP", False), "train")
    dataset = build_dataset(data_cfg(*options), "train")
    clip = plain[0][0].clip
    flipped = [torch.equal(dataset[(epoch, 0)][0].clip, clip.flip(-1)) for epoch in range(40)]
    assert 10 < sum(flipped) < 30
    assert all(flip or torch.equal(dataset[(epoch, 0)][0].clip, clip) for epoch, flip in enumerate(flipped))


def test_relative_scales_change_the_shape_of_training_crops_under_aug_only(videos, data_cfg):
    options = ("DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.2, 0.3], "DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.5, 2.0])
    jittered = build_dataset(data_cfg(), "train")[0][0].clip
    assert torch.equal(build_dataset(data_cfg(*options), "train")[0][0].clip, jittered)
    with_aug = data_cfg(*options, "AUG.ENABLE", True)
    assert not torch.equal(build_dataset(with_aug, "train")[0][0].clip, jittered)
    assert torch.equal(build_dataset(with_aug, "val")[0][0].clip, build_dataset(data_cfg(), "val")[0][0].clip)
    # Validation with upstream's random view is jittered, and never augmented.
    random_view = ("DATA.VAL_VIEW", "random")
    augmented = build_dataset(data_cfg(*options, *random_view, "AUG.ENABLE", True), "val")
    assert torch.equal(augmented[0][0].clip, build_dataset(data_cfg(*random_view), "val")[0][0].clip)


def test_validation_takes_the_middle_clip_and_the_centre_crop(videos, data_cfg, tmp_path):
    dataset = build_dataset(data_cfg("DATA.TRAIN_CROP_SIZE", 48), "val")
    (sample,) = dataset[(9, 1)]
    # 21 frames, a clip of 12: from frame 4 to 15 at a distance of 11 / 3.
    frames = read_frames(str(tmp_path / "video 1.mp4"), [4, 7, 11, 15])
    assert np.array_equal(sample.clip, frames[:, :, 8:56].transpose(3, 0, 1, 2))
    assert torch.equal(sample.clip, dataset[(2, 1)][0].clip)


def test_validation_with_a_random_view_changes_with_the_epoch(videos, data_cfg):
    dataset = build_dataset(data_cfg("DATA.VAL_VIEW", "random"), "val")
    assert not torch.equal(dataset[(1, 0)][0].clip, dataset[(2, 0)][0].clip)


def test_views_of_a_video_come_in_a_row_as_clips_times_crops(videos, data_cfg, tmp_path):
    dataset = build_dataset(data_cfg("DATA.TEST_CROP_SIZE", 48), "test")
    assert len(dataset) == NUM_VIDEOS
    samples = dataset[1]  # 48 x 64
    assert [(sample.video, sample.view, sample.label) for sample in samples] == [(1, view, 1) for view in range(6)]
    for view, sample in enumerate(samples):
        start = 4.5 * (view // 3)  # slack 9 of 2 clips
        indices = np.linspace(start, start + 11, 4).astype(int)
        left = [0, 8, 16][view % 3]
        frames = read_frames(str(tmp_path / "video 1.mp4"), indices)[:, :, left : left + 48]
        assert np.array_equal(sample.clip, frames.transpose(3, 0, 1, 2))


@pytest.mark.parametrize("scales", [[256, 320], [32, 32]])
def test_one_spatial_crop_is_the_centre_whatever_the_jitter_scales(videos, data_cfg, scales):
    three = build_dataset(data_cfg("TEST.NUM_ENSEMBLE_VIEWS", 1), "test")
    options = ("TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1, "DATA.TRAIN_JITTER_SCALES", scales)
    one = build_dataset(data_cfg(*options), "test")
    (sample,) = one[1]
    assert torch.equal(sample.clip, three[1][1].clip)


def test_the_pyav_rule_counts_seconds_and_the_decord_rule_frames(videos, data_cfg):
    # At 25 frames a second, a TARGET_FPS of 50 halves the clip.
    half = build_dataset(data_cfg("DATA.DECODING_BACKEND", "pyav", "DATA.TARGET_FPS", 50), "val")
    halved = build_dataset(data_cfg("DATA.SAMPLING_RATE", 1), "val")
    decord = build_dataset(data_cfg("DATA.TARGET_FPS", 50), "val")
    plain = build_dataset(data_cfg(), "val")
    assert torch.equal(decord[0][0].clip, plain[0][0].clip)
    assert not torch.equal(half[0][0].clip, plain[0][0].clip)
    same = build_dataset(data_cfg("DATA.DECODING_BACKEND", "pyav", "DATA.TARGET_FPS", 75), "val")
    assert torch.equal(same[0][0].clip, halved[0][0].clip)


def test_reversed_channels_are_bgr(videos, data_cfg):
    rgb = build_dataset(data_cfg(), "val")[0][0].clip
    bgr = build_dataset(data_cfg("DATA.REVERSE_INPUT_CHANNEL", True), "val")[0][0].clip
    assert torch.equal(bgr, rgb.flip(0))


def test_a_broken_training_video_is_replaced_by_the_same_other_one_and_said(videos, data_cfg, tmp_path):
    (tmp_path / "video 2.mp4").write_text("no video")
    first, second = (build_dataset(data_cfg(), "train")[(4, 2)][0] for _ in range(2))
    assert first.video == first.label != 2
    assert first.valid
    assert second.video == first.video
    assert torch.equal(first.clip, second.clip)
    ((row, error),) = first.unread
    assert row == 2
    assert "video 2.mp4: not a readable video" in error


def test_training_finds_the_only_video_that_can_be_read_and_gives_up_without_any(videos, data_cfg, tmp_path):
    for path in tmp_path.glob("video [0-3].*"):
        path.unlink()
    dataset = build_dataset(data_cfg(), "train")
    assert {dataset[(epoch, index)][0].video for epoch in range(10) for index in (0, 3)} == {4}
    (tmp_path / "video 4.mp4").unlink()
    with pytest.raises(VideoError, match=r"train\.csv: too many of its videos cannot be read"):
        dataset[0]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_broken_evaluation_video_keeps_its_place_and_is_marked(videos, data_cfg, tmp_path, split):
    (tmp_path / "video 2.mp4").unlink()
    dataset = build_dataset(data_cfg(), split)
    samples = dataset[2]
    assert [sample[1:5] for sample in samples] == [(2, 2, view, False) for view in range(dataset.num_views)]
    for sample in samples:
        assert sample.clip.shape == (3, 4, 32, 32)
        assert not sample.clip.any()
        ((row, error),) = sample.unread
        assert row == 2
        assert "No such file" in error


def test_of_a_damaged_test_video_the_clips_before_the_damage_count(videos, data_cfg, tmp_path, monkeypatch):
    dataset = build_dataset(data_cfg(), "test")
    whole = dataset[0]
    frames_of = dataset.frames_of

    def damaged(entry, indices):
        if indices.max() > 12:
            raise VideoError(entry.path, "damaged", 13)
        return frames_of(entry, indices)

    monkeypatch.setattr(dataset, "frames_of", damaged)
    samples = dataset[0]  # 20 frames, clips of 12 from 0 and from 4
    assert [sample.valid for sample in samples] == [True] * 3 + [False] * 3
    assert [sample.view for sample in samples] == list(range(6))
    assert all(torch.equal(whole[view].clip, samples[view].clip) for view in range(3))


@pytest.mark.parametrize("name", ["kinetics", "kinetics_sparse"])
def test_a_video_is_decoded_once_for_all_its_views_and_copies(videos, data_cfg, monkeypatch, name):
    decodes = []
    open_file = av.open

    def counted(file, *args, **kwargs):
        container = open_file(file, *args, **kwargs)
        decodes.append(str(file))
        return container

    options = ("TRAIN.DATASET", name, "TEST.DATASET", name, "TEST.NUM_ENSEMBLE_VIEWS", 5, "AUG.NUM_SAMPLE", 3)
    train, test = (build_dataset(data_cfg(*options), split) for split in ("train", "test"))
    for dataset in (train, test):
        dataset.info(dataset.entries[0])  # a file's index is read once and kept
    monkeypatch.setattr(av, "open", counted)
    assert len(train[0]) == 3
    assert len(decodes) == 1
    assert len(test[0]) == 15
    assert len(decodes) == 2


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("name", ["kinetics", "kinetics_sparse"])
def test_a_sweep_has_the_very_views_of_each_number_of_clips(videos, data_cfg, name, offset):
    options = ("TRAIN.DATASET", name, "TEST.DATASET", name, "DATA.USE_OFFSET_SAMPLING", offset)
    sweep = build_dataset(data_cfg(*options, "TEST.NUM_ENSEMBLE_VIEWS", -1), "test")[4]
    assert [sample.view for sample in sweep] == list(range(26 * 3))
    first = 0
    for count in (1, 3, 5, 7, 10):
        views = build_dataset(data_cfg(*options, "TEST.NUM_ENSEMBLE_VIEWS", count), "test")[4]
        for view, sample in enumerate(views):
            assert torch.equal(sweep[first + view].clip, sample.clip)
        first += len(views)


def test_test_batches_are_whole_videos_of_about_the_size_asked_for(videos, data_cfg):
    sizes = {}
    for size in (4, 6, 13):
        batches = list(build_loader(data_cfg("TEST.BATCH_SIZE", size), "test"))
        sizes[size] = [len(batch.labels) for batch in batches]
        assert [*torch.cat([batch.video for batch in batches])] == [row for row in range(NUM_VIDEOS) for _ in range(6)]
    assert sizes == {4: [6] * 5, 6: [6] * 5, 13: [12, 12, 6]}


def test_classes_named_left_or_right_are_never_mirrored(videos, data_cfg, tmp_path):
    names = {"turning left": 0, "bright thing": 1, "Right to left": 2, "upright": 3, "moving": 4}
    (tmp_path / "classes.json").write_text(json.dumps(names))
    options = ("DATA.TRAIN_JITTER_SCALES", [32, 32], "DATA.SAMPLING_RATE", 100)
    dataset = build_dataset(data_cfg(*options), "train")
    plain = build_dataset(data_cfg(*options, "DATA.RANDOM_FLIP", False), "train")
    for row in range(NUM_VIDEOS):
        seen = [torch.equal(dataset[(epoch, row)][0].clip, plain[(epoch, row)][0].clip) for epoch in range(12)]
        assert all(seen) == (row in (0, 2))


def test_the_frame_rate_jitter_shortens_training_clips(videos, data_cfg):
    options = ("DATA.DECODING_BACKEND", "pyav", "DATA.TARGET_FPS", 25, "DATA.TRAIN_JITTER_FPS", 25.0)
    spans = {}
    for split in ("train", "val"):
        dataset = build_dataset(data_cfg(*options), split)
        info = dataset.info(dataset.entries[4])
        drawn = [dataset.indices(info, dataset.clips[0], np.random.default_rng(seed)) for seed in range(50)]
        spans[split] = {int(indices[-1] - indices[0]) for indices in drawn}
    assert {11, 12} >= spans["val"]
    assert min(spans["train"]) < 7 < 10 < max(spans["train"])
    with pytest.raises(ValueError, match=r"decord .*Set DATA\.DECODING_BACKEND pyav"):
        build_dataset(data_cfg("DATA.TRAIN_JITTER_FPS", 25.0), "train")


def test_collate_flattens_the_copies_of_several_videos(videos, data_cfg):
    dataset = build_dataset(data_cfg("AUG.NUM_SAMPLE", 2), "train")
    batch = collate([dataset[1], dataset[4]])
    assert batch.clips.shape == (4, 3, 4, 32, 32)
    assert batch.clips.dtype == torch.uint8
    assert batch.labels.tolist() == batch.video.tolist() == [1, 1, 4, 4]
    assert batch.valid.dtype == torch.bool


@pytest.mark.parametrize("split", ["train", "test"])
def test_workers_give_the_batches_of_the_main_process_and_no_draw_of_the_run_is_used(videos, data_cfg, split):
    state = torch.get_rng_state()
    epochs = []
    for workers in (0, 2):
        options = ("AUG.ENABLE", True, "AUG.NUM_SAMPLE", 2, "AUG.RE_PROB", 0.5, "DATA_LOADER.NUM_WORKERS", workers)
        loader = build_loader(data_cfg(*options), split)
        for epoch in (3, 4):  # the second time with the same workers
            loader.batch_sampler.set_epoch(epoch)
            epochs.append(list(loader))
        assert len(epochs[-1]) == len(loader)
    assert torch.equal(torch.get_rng_state(), state)
    for alone, helped in zip(epochs[:2], epochs[2:], strict=True):
        for one, other in zip(alone, helped, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))


def test_a_loader_takes_a_data_set_that_is_there_already(videos, data_cfg):
    dataset = build_dataset(data_cfg(), "val")
    assert build_loader(data_cfg(), "val", dataset).dataset is dataset


def test_checking_shows_the_list_lines_of_videos_that_cannot_be_read(videos, data_cfg, tmp_path):
    dataset = build_dataset(data_cfg(), "train")
    check_videos(dataset, -1)
    (tmp_path / "video 2.mp4").write_text("no video")
    (tmp_path / "video 4.mp4").unlink()
    check_videos(dataset, 0)
    with pytest.raises(VideoError, match="2 of the 5 videos tried") as caught:
        check_videos(dataset, -1)
    for part in ("train.csv:3: ", "video 2.mp4: not a readable video", "train.csv:5: ", "DATA.PATH_PREFIX"):
        assert part in str(caught.value)
    # Spread evenly: the first, the middle and the last.
    with pytest.raises(VideoError, match="2 of the 3 videos tried"):
        check_videos(dataset, 3)


def test_equal_val_and_test_lists_are_warned_of_whatever_their_order(videos, data_cfg, tmp_path):
    (tmp_path / "test.csv").write_text("".join(reversed(videos)))
    assert "is optimistic" in warn_equal_lists(data_cfg())
    assert warn_equal_lists(data_cfg("TRAIN.ENABLE", False)) is None
    (tmp_path / "test.csv").write_text("".join(videos[1:]))
    assert warn_equal_lists(data_cfg()) is None


def test_an_unknown_data_set_names_those_there_are():
    with pytest.raises(KeyError, match=r"Did you mean kinetics\? Registered: .*hmdb.*sth"):
        DATASET_REGISTRY.get("Kinetic")


def test_an_unknown_split_is_refused(videos, data_cfg):
    with pytest.raises(ValueError, match="train, val or test"):
        build_dataset(data_cfg(), "validation")
