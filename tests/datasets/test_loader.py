"""Loader processes that die, videos that cannot be read, and batches on their way to the device."""

import multiprocessing
import os
import platform
import resource
import signal
import time
from collections import Counter
from functools import partial
from statistics import median

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from slowfast.datasets import BadVideos, build_loader, collate, prefetch
from slowfast.datasets.bad_videos import TooManyBadVideosError
from slowfast.datasets.base import Sample, Unread
from slowfast.datasets.kinetics import Kinetics
from slowfast.datasets.loader import LoaderError, begin_process

NAMES = ["plain.mp4", "with space.mp4", "ünïcode 视频.mp4", "one, two 3.mp4", "100 %.mp4", "broken.mp4"]


@pytest.fixture
def videos(tmp_path, write_video):
    """Six videos with unusual names in the lists of train and val; the last one is none."""
    for name in NAMES[:-1]:
        write_video(tmp_path / name, 12, size=(32, 32))
    (tmp_path / NAMES[-1]).write_text("no video")
    for split in ("train", "val", "test"):
        lines = [f"{tmp_path / name} {label % 5}\n" for label, name in enumerate(NAMES)]
        (tmp_path / f"{split}.csv").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def die_in(monkeypatch, name, how):
    """Reading a video of this name ends the loader process that does it."""
    frames_of = Kinetics.frames_of

    def read(self, entry, *args):
        if entry.path.endswith(name) and os.getpid() != parent:
            os.kill(os.getpid(), how)
        return frames_of(self, entry, *args)

    parent = os.getpid()
    monkeypatch.setattr(Kinetics, "frames_of", read)


@pytest.mark.parametrize("separator", [" ", ",", "\t", r"\t"])
def test_paths_may_hold_spaces_unicode_and_the_separator(videos, data_cfg, separator):
    path = videos / "val.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(separator.replace(r"\t", "\t").join(line.rsplit(" ", 1)) for line in lines), "utf-8")
    (batch,) = build_loader(data_cfg("TRAIN.BATCH_SIZE", 6, "DATA.PATH_LABEL_SEPARATOR", separator), "val")
    assert batch.valid.tolist() == [True] * 5 + [False]
    assert [failure.row for failure in batch.unread] == [5]


def test_a_video_that_crashes_its_process_is_named_and_the_pass_goes_on(videos, data_cfg, monkeypatch, caplog):
    die_in(monkeypatch, "one, two 3.mp4", signal.SIGSEGV)
    loader = build_loader(data_cfg("DATA_LOADER.NUM_WORKERS", 2, "TRAIN.BATCH_SIZE", 1), "val")
    batches = list(loader)
    assert [batch.video.item() for batch in batches] == list(range(6))
    assert [batch.valid.item() for batch in batches] == [True, True, True, False, True, False]
    assert "one, two 3.mp4 ended its loader process (SIGSEGV)" in caplog.text
    assert "val.csv:4" in caplog.text
    (failure,) = batches[3].unread
    assert "SIGSEGV" in failure.error
    # The next pass knows, and its processes live on.
    caplog.clear()
    assert [batch.valid.item() for batch in loader] == [True, True, True, False, True, False]
    assert not caplog.text


@pytest.mark.parametrize(("row", "said"), [(1, r"SIGKILL while it read .*with space\.mp4"), (-1, r"SIGKILL\. ")])
def test_a_process_killed_for_its_memory_ends_the_run_with_what_to_do(videos, data_cfg, row, said):
    loader = build_loader(data_cfg("DATA_LOADER.NUM_WORKERS", 1), "val")
    process = multiprocessing.Process(target=time.sleep, args=(60,))
    process.start()
    process.kill()
    process.join()
    loader.reading[0] = torch.tensor([process.pid, row])
    with pytest.raises(LoaderError, match=rf"{said}.*DATA_LOADER\.NUM_WORKERS"):
        loader.lay_to_video(process, RuntimeError())
    assert not loader.dataset.crashed


def test_a_mistake_of_ours_is_no_death(videos, data_cfg, monkeypatch):
    def read(*args):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Kinetics, "frames_of", read)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(build_loader(data_cfg(), "val"))


def test_videos_that_cannot_be_read_are_listed_once_whatever_their_views(videos, data_cfg, caplog):
    loader = build_loader(data_cfg("TEST.BATCH_SIZE", 5), "test")
    bad = BadVideos(loader.dataset)
    for batch in loader:
        bad.add(batch.unread)
    bad.report("they count as wrong")
    assert "1 of 6 videos" in caplog.text
    assert "they count as wrong" in caplog.text
    assert caplog.text.count("broken.mp4: not a readable video") == 1
    assert "test.csv:6" in caplog.text


def test_no_more_than_the_share_allowed_may_be_unreadable(videos, data_cfg, caplog):
    loader = build_loader(data_cfg(), "train")
    bad = BadVideos(loader.dataset)
    bad.report("nothing happened", 0.0)
    assert not caplog.text
    for batch in loader:
        bad.add(batch.unread)
    bad.report("others took their places", 0.2)
    assert "broken.mp4" in caplog.text
    with pytest.raises(TooManyBadVideosError, match=r"1 of 6 .*MAX_BAD_VIDEOS 0\.1 (?s:.)*broken\.mp4"):
        bad.report("others took their places", 0.1)


def test_a_batch_names_each_unreadable_video_once():
    failures = (Unread(3, "a"), Unread(1, "b"))
    samples = [Sample(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), 0, 0, 0, True, failures) for _ in range(2)]
    assert collate([samples, samples]).unread == failures
    assert collate([[samples[0]._replace(unread=())]]).unread == ()


def test_every_sample_comes_once_a_pass_also_when_the_one_before_was_left_early(videos, data_cfg):
    loader = build_loader(data_cfg("DATA_LOADER.NUM_WORKERS", 2, "TRAIN.BATCH_SIZE", 2), "val")
    next(iter(loader))
    assert Counter(row for batch in loader for row in batch.video.tolist()) == dict.fromkeys(range(6), 1)
    assert len(loader) == 3


def test_prefetching_changes_no_batch(videos, data_cfg):
    batches = list(build_loader(data_cfg("TRAIN.BATCH_SIZE", 2), "val"))
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    for device in devices:
        prefetched = list(prefetch((batch for batch in batches), torch.device(device)))
        for one, other in zip(batches, prefetched, strict=True):
            assert other.clips.device.type == device
            assert torch.equal(one.clips, other.clips.cpu())
            assert other.video is one.video


class Faults(Dataset):
    """Pages that the system had to give for a large tensor."""

    def __len__(self):
        return 40

    def __getitem__(self, _row):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(1 << 24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_loader_process_uses_freed_memory_again():
    begin = partial(begin_process, torch.full((1, 2), -1).share_memory_())
    first, *later = DataLoader(Faults(), batch_size=None, num_workers=1, worker_init_fn=begin)
    # By default as many each time. Small objects take places in the first ones' memory, until they have room beside it.
    assert median(later[20:]) < first / 10
