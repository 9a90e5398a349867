"""Runs that are killed or asked to stop, at every kind of moment: they go on as if nothing had been."""

import os
import re
import signal
import time
from functools import partial

import pytest
from harness import IN_FULL_ONLY, Job, assert_same_run, finish, kill_again_and_again, loss_log, slow_loading


@pytest.mark.slow
@pytest.mark.parametrize("processes", [pytest.param(1, marks=IN_FULL_ONLY), 2])
def test_killed_at_random_moments_a_run_ends_as_if_it_had_not_been(config, references, processes, record_property):
    configure = partial(config, "TRAIN.BATCH_SIZE", 6 // processes)
    check = partial(assert_same_run, reference=references[processes])
    record_property("seen", kill_again_and_again(configure, processes, check))


def kill_before_rename():
    """Makes this process die with a checkpoint written but not yet named: the second of this process."""
    from slowfast.utils import files

    real, count = files.os.replace, iter(range(100))

    def replace(source, target):
        if str(target).endswith(".pyth") and next(count) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    files.os.replace = replace


def test_killed_in_the_midst_of_a_save_the_one_before_is_used(config, references):
    cfg = config()
    with Job(cfg, prepare=kill_before_rename) as job:
        assert job.wait() == [-signal.SIGKILL]
    assert list((job.output / "checkpoints").glob(".*.tmp"))
    finish(cfg)
    assert not list((job.output / "checkpoints").glob(".*.tmp"))
    assert_same_run(job.output, references[1])


@pytest.mark.parametrize(("processes", "number"), [(1, signal.SIGTERM), (2, signal.SIGUSR1)])
def test_a_signal_saves_the_step_and_says_how_to_go_on(config, references, processes, number):
    cfg = config("TRAIN.BATCH_SIZE", 6 // processes, "TRAIN.CHECKPOINT_EVERY_STEPS", 0)
    with Job(cfg, processes) as job:
        job.wait_for(r"epoch 1/2  2/5")
        job.kill(number, slice(0, 1))  # one rank is told, all stop
        assert job.wait() == [0] * processes
    saved = re.search(r"Interrupted: epoch (\d), step (\d) is saved\. Start the same command again", job.said())
    assert saved, job.said()
    assert list((job.output / "checkpoints").glob(f"checkpoint_epoch_0000{saved[1]}_step_00000{saved[2]}.pyth"))
    finish(cfg, processes)
    assert_same_run(job.output, references[processes])
    assert not list((job.output / "checkpoints").glob("*_step_*"))


def slow_save():
    """Checkpoints that take a while to reach the disk."""
    from slowfast.utils import files

    real = files.sync_file

    def sync_file(file):
        print("writing", flush=True)
        time.sleep(0.3)
        real(file)

    files.sync_file = sync_file


def test_a_signal_in_a_save_waits_for_it(config, references):
    cfg = config()
    with Job(cfg, prepare=slow_save) as job:
        job.wait_for("writing")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0]
    assert re.search(r"epoch \d, step \d is saved\. Start the same command again", job.said())
    assert not list((job.output / "checkpoints").glob(".*.tmp"))
    finish(cfg)
    assert_same_run(job.output, references[1])


def slow_validation():
    """Validation batches that take a while, so that a signal meets them."""
    from slowfast.engine import train

    real = train.score_views

    def score_views(cfg, model, loader, device, **options):
        return real(cfg, model, SlowLoader(loader), device, **options)

    train.score_views = score_views


class SlowLoader:
    def __init__(self, loader):
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            print("loading", flush=True)
            time.sleep(0.5)
            yield batch


def test_a_signal_in_validation_repeats_only_the_validation(config, references):
    cfg = config()
    with Job(cfg, prepare=slow_validation) as job:
        job.wait_for("loading")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0]
    assert "epoch 1 is saved, its validation will be done again" in job.said()
    finish(cfg)
    assert "Resumed from" in job.said()
    assert_same_run(job.output, references[1])
    assert list(loss_log(job.output)) == list(loss_log(references[1]))


def test_a_signal_in_the_test_ends_it_and_it_can_be_done_again(config, references):
    weights = references[1] / "checkpoints/checkpoint_epoch_00002.pyth"
    cfg = config("TRAIN.ENABLE", False, "TEST.ENABLE", True, "TEST.CHECKPOINT_FILE_PATH", str(weights))
    with Job(cfg, 2, prepare=partial(slow_loading, 0.02)) as job:
        job.wait_for(r"test 2 clips x 3 crops  2/")
        job.kill(signal.SIGTERM, slice(1, 2))
        assert job.wait() == [0, 0]
    assert "scores that were not complete are dropped. Start the same command again" in job.said()
    assert not list(job.output.glob("*.pkl"))
    finish(cfg)
    assert list(job.output.glob("*.pkl"))


def test_a_signal_to_the_whole_job_does_not_take_the_loader_processes_along(config, references):
    cfg = config("DATA_LOADER.NUM_WORKERS", 1, "TRAIN.CHECKPOINT_EVERY_STEPS", 0)
    with Job(cfg, prepare=slow_loading) as job:
        job.wait_for(r"epoch 1/2  1/5")
        pid = job.ranks[0].pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            loaders = [int(word) for word in file.read().split()]
        assert loaders
        for process in (*loaders, pid):
            os.kill(process, signal.SIGTERM)
        assert job.wait() == [0]
    assert "is saved" in job.said()
    finish(cfg)
    assert_same_run(job.output, references[1])


def test_a_second_signal_ends_the_process_at_once(config):
    with Job(config(), prepare=partial(slow_loading, 0.4)) as job:
        job.wait_for(r"epoch 1/2  1/5")
        job.kill(signal.SIGTERM)
        job.wait_for("SIGTERM: finishing the step")
        time.sleep(1.1)  # within a second the two would be taken for one
        job.kill(signal.SIGTERM)
        assert job.wait() == [128 + signal.SIGTERM]
