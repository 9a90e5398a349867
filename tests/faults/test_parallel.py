"""Two processes train what one does with the same batch, however the gradients come together."""

import os
import re
import signal

import pytest
import torch
from harness import IN_FULL_ONLY, Job, assert_same_run, final_weights, finish

# Norm statistics over all processes, and no draw of a process's own.
SAME = (
    *("BN.NORM_TYPE", "sync_batchnorm", "UNIFORMER.DROP_DEPTH_RATE", 0.0, "SOLVER.OPTIMIZING_METHOD", "sgd"),
    *("SOLVER.CLIP_GRAD_L2NORM", 0.5, "SOLVER.BASE_LR", 0.01, "TRAIN.CHECKPOINT_EVERY_STEPS", 0),
)


def assert_close_weights(one, other) -> None:
    expected, found = final_weights(one), final_weights(other)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_gradients_accumulated_on_two_processes_equal_one_process(config):
    accumulated = ("GLOBAL_BATCH_SIZE", 12)
    one = finish(config(*SAME, *accumulated, name="one")).output
    two = finish(config(*SAME, *accumulated, "TRAIN.BATCH_SIZE", 3, name="two"), 2).output
    assert "2 accumulated" in (two / "stdout.log").read_text()
    assert_close_weights(one, two)


def spoil_first_loss_of_rank_1():
    """The first clips of rank 1 hold a NaN."""
    from slowfast.engine import step

    real, count = step.normalize, iter(range(100))

    def normalize(clips, mean, std):
        spoiled = os.environ["RANK"] == "1" and next(count) == 0
        return real(clips, mean, std) * (torch.nan if spoiled else 1)

    step.normalize = normalize


@pytest.mark.parametrize("batch", [pytest.param(0, marks=IN_FULL_ONLY), 12])
def test_a_bad_loss_of_one_rank_is_skipped_by_all(config, batch):
    cfg = config("TRAIN.BATCH_SIZE", 3, "GLOBAL_BATCH_SIZE", batch)
    with Job(cfg, 2, prepare=spoil_first_loss_of_rank_1) as job:
        assert job.wait() == [0, 0], job.said()
    assert re.search(r"epoch 1, step 1 is not finite; first in \S+ .*: (\d+, ){4}\d+\. The step is skipped", job.log())
    assert all(tensor.isfinite().all() for tensor in final_weights(job.output).values())


def test_a_sharded_run_equals_one_process_and_its_checkpoint_goes_on_there(config):
    one = finish(config(*SAME, name="one")).output
    sharded = ("DIST.STRATEGY", "fsdp", "DIST.CPU_PROCESSES", 2)
    with Job(config(*SAME, *sharded, name="two"), 2) as job:
        job.wait_for(r"epoch 2/2  1/5")
        job.kill(signal.SIGTERM, slice(1, 2))
        assert job.wait() == [0, 0], job.said()
    two = finish(config(*SAME, name="two")).output
    assert "was saved by 2 processes and 1 go on" in (two / "stdout.log").read_text()
    assert_close_weights(one, two)


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=IN_FULL_ONLY)])
def test_a_run_of_mixed_precision_goes_on_as_if_not_interrupted(config, dtype):
    mixed = ("TRAIN.MIXED_PRECISION", True, "TRAIN.AMP_DTYPE", dtype, "GLOBAL_BATCH_SIZE", 12)
    whole = finish(config(*mixed, name="whole")).output
    with Job(config(*mixed, name="cut")) as job:
        job.wait_for(r"epoch 1/2  2/5")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0], job.said()
    assert_same_run(finish(config(*mixed, name="cut")).output, whole)
