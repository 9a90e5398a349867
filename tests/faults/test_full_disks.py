"""Full disks that hold no checkpoints: of the log, the terminal's file and TensorBoard's events."""

import os
from pathlib import Path

import pytest
from harness import Job, assert_same_run, final_weights
from mounts import mounted

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


def test_a_full_disk_of_tensorboard_does_not_end_training(config, references, tmp_path):
    with mounted(tmp_path / "small", "size=4k"):
        options = ("TENSORBOARD.ENABLE", True, "TENSORBOARD.LOG_DIR", str(tmp_path / "small/events"))
        with Job(config(*options, "TENSORBOARD.CONFUSION_MATRIX.ENABLE", True)) as job:
            assert job.wait() == [0], job.said()
    assert job.said().count("TensorBoard's events in") == 1
    assert "end here, and the run goes on: [Errno 28] No space left on device" in job.said()
    assert "Traceback" not in job.said()
    assert_same_run(job.output, references[1])


@needs_full
def test_a_full_disk_of_the_log_does_not_end_training(config, references, tmp_path):
    cfg = config()
    Path(cfg.OUTPUT_DIR).mkdir()
    (Path(cfg.OUTPUT_DIR) / "stdout.log").symlink_to(FULL)
    with Job(cfg) as job:
        assert job.wait() == [0], job.said()
    assert job.said().count("stdout.log cannot be written: [Errno 28] No space left on device. Its lines are lost") == 1
    assert "Traceback" not in job.said()
    assert final_weights(job.output).keys() == final_weights(references[1]).keys()


def print_into_a_full_disk():
    os.dup2(os.open(FULL, os.O_WRONLY), 1)


@needs_full
def test_a_full_disk_of_what_is_printed_does_not_end_training(config, references):
    with Job(config(), prepare=print_into_a_full_disk) as job:
        assert job.wait() == [0], job.said()
    assert job.said().count("The terminal cannot be written: [Errno 28] No space left on device.") == 1
    assert "Traceback" not in job.said()
    assert_same_run(job.output, references[1])
