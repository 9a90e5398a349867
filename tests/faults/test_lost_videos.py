"""Videos that nobody can read any more when training has begun, as where their disk has gone."""

import multiprocessing
from functools import partial
from pathlib import Path

import pytest
from harness import Job


def lose_videos(split: str):
    """Makes every video of a split unreadable once the run has begun, in loader processes too: they are forked."""
    multiprocessing.set_start_method("fork", force=True)
    from slowfast.datasets.motion import Motion
    from slowfast.datasets.video_file import VideoError
    from slowfast.engine import train

    real = Motion.read_clip, Motion.read_clips
    lost = []

    def lose(read):
        def read_or_fail(self, entry, *rest):
            if lost and self.split == split:
                raise VideoError(entry.path, "Stale file handle")
            return read(self, entry, *rest)

        return read_or_fail

    Motion.read_clip, Motion.read_clips = map(lose, real)
    begin = train.Trainer.start

    def start(self):
        lost.append(True)
        return begin(self)

    train.Trainer.start = start


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (2, 1)])
def test_training_videos_that_are_all_unreadable_end_the_run_with_one_message(config, processes, workers):
    options = ("TRAIN.BATCH_SIZE", 6 // processes, "DATA_LOADER.NUM_WORKERS", workers)
    with Job(config(*options), processes, prepare=partial(lose_videos, "train")) as job:
        assert job.wait(25) == [1] * processes
    said = job.said()
    assert said.count("Error: ") == 1, said
    assert "of 25 videos of " in said
    assert "and a batch could not be filled with others:" in said
    assert "Stale file handle" in said
    assert "Traceback" not in said
    assert "lost another rank" not in said
    assert not list((job.output / "checkpoints").glob("*.pyth"))


def test_validation_videos_that_are_all_unreadable_count_as_wrong(config):
    with Job(config("SOLVER.MAX_EPOCH", 1), prepare=partial(lose_videos, "val")) as job:
        assert job.wait() == [0], job.said()
    assert "8 of 8 videos of" in job.said()
    assert "they count as wrong" in job.said()
    assert "Traceback" not in job.said()
    assert Path(job.output / "checkpoints/checkpoint_epoch_00001.pyth").exists()
