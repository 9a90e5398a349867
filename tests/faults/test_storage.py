"""Damaged checkpoints and disks that are full, read-only or taken away."""

import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import Job, assert_same_run, fill_up_after_first_save, finish, flip, slow_loading
from mounts import mounted

from slowfast.utils.checkpoint import last_good_checkpoint, load_checkpoint, run_checkpoints
from slowfast.utils.files import CheckpointError


def damages(seed: int, count: int):
    """Ways to spoil a file: truncated, bits flipped, empty, and other content under its name."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        share, bit = rng.uniform(0.01, 0.99), int(rng.integers(8))
        kinds = (
            ("truncated", lambda data, share=share: data[: int(len(data) * share)]),
            ("bit flipped", lambda data, share=share, bit=bit: flip(data, int(len(data) * share), bit)),
            ("empty", lambda data: b""),
            ("text", lambda data: b"<html>404 not found</html>\n" * 50),
        )
        yield kinds[index % len(kinds)]


def test_of_twenty_damaged_checkpoints_none_is_loaded(references, tmp_path):
    """Each is the newest of a run: it raises one clear message, and the one before is used."""
    for index, (kind, damage) in enumerate(damages(0, 20)):
        output = tmp_path / str(index)
        shutil.copytree(references[1], output)
        newest, before = run_checkpoints(output)[:2]
        newest.write_bytes(damage(newest.read_bytes()))
        with pytest.raises(CheckpointError, match=r"damaged|no checkpoint"):
            load_checkpoint(newest)
        path, _, problems = last_good_checkpoint(output)
        assert path == before, kind
        assert len(problems) == 1


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(config, references):
    cfg = config()
    output = Path(cfg.OUTPUT_DIR)
    shutil.copytree(references[1], output)
    newest = run_checkpoints(output)[0]
    newest.write_bytes(flip(newest.read_bytes(), newest.stat().st_size // 2, 3))
    job = finish(cfg)
    assert "Using an older one" in job.said()
    assert_same_run(output, references[1])


def test_a_checkpoint_of_another_model_is_refused_whole(config, references):
    cfg = config("UNIFORMER.EMBED_DIM", [8, 8, 16, 32], "TRAIN.RESUME_CHANGED", True)
    shutil.copytree(references[1], cfg.OUTPUT_DIR)
    with Job(cfg) as job:
        assert job.wait() == [1]
    assert "does not fit this model and optimizer" in job.said()
    assert "Traceback" not in job.said()


def test_a_run_of_another_length_is_refused_in_one_sentence(config, references):
    cfg = config("DATA.NUM_FRAMES", 4, "TRAIN.RESUME_CHANGED", True)
    shutil.copytree(references[1], cfg.OUTPUT_DIR)
    with Job(cfg) as job:
        assert job.wait() == [1]
    said = re.search(r"\S+ does not fit this model and optimizer: .*", job.said())[0]
    assert "00002.pyth does not fit this model and optimizer: it was trained with DATA.NUM_FRAMES 2, now 4." in said
    assert "size mismatch" not in job.said()


def test_a_full_disk_is_reported_and_the_run_goes_on_with_older_checkpoints(config, references, tmp_path):
    """The disk fills up after the first checkpoint, and has room again before the last."""
    with mounted(tmp_path / "small", "size=8m"):
        cfg = config("TRAIN.CHECKPOINT_EVERY_STEPS", 1, name="small/out")
        with Job(cfg, prepare=partial(slow_loading, 0.02)) as job:
            fill_up_after_first_save(job, tmp_path / "small/filler")
            assert job.wait() == [0], job.said()
        assert "The run goes on; older checkpoints are as they were" in job.said()
        one, other = (load_checkpoint(run_checkpoints(path)[0]) for path in (job.output, references[1]))
        assert all(torch.equal(one["model_state"][name], other["model_state"][name]) for name in one["model_state"])


def test_a_read_only_folder_is_said_at_once(config, tmp_path):
    printed = tmp_path / "fixed.printed"
    with mounted(tmp_path / "fixed", "size=1m,ro"), Job(config(name="fixed/out"), printed=printed) as job:
        assert job.wait() == [1]
    assert re.search(
        r"OUTPUT_DIR .*fixed/out cannot be written: .*Read-only file system.*Set OUTPUT_DIR to", job.said()
    )
    assert "Traceback" not in job.said()


def test_an_output_dir_that_is_removed_under_the_run_is_made_again(config, references):
    cfg = config("TRAIN.CHECKPOINT_EVERY_STEPS", 1)
    with Job(cfg, prepare=partial(slow_loading, 0.02)) as job:
        job.wait_for(r"epoch 1/2  3/5")
        job.output.rename(job.output.with_name("removed"))  # at once: file by file the run would write in between
        assert job.wait() == [0], job.said()
    assert "has been removed under the run; it is made again" in job.said()
    one, other = (load_checkpoint(run_checkpoints(path)[0]) for path in (job.output, references[1]))
    assert all(torch.equal(one["model_state"][name], other["model_state"][name]) for name in one["model_state"])


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(config, references):
    cfg = config()
    with Job(cfg, prepare=partial(slow_loading, 0.1)) as first:
        first.wait_for(r"epoch 1/2  1/5")
        with Job(cfg) as second:
            second.wait()
        assert second.ranks[0].exitcode == 1
        assert f"is in use by process {first.ranks[0].pid} on " in second.said()
        first.kill(signal.SIGKILL)
        first.wait()
    time.sleep(0.1)
    job = finish(cfg)
    assert f"Process {first.ranks[0].pid} on" in job.said()
    assert "left its lock behind; taking it over" in job.said()
    assert_same_run(job.output, references[1])
