"""Two processes train what one does with the same batch, however the gradients come together."""

import os
import re
import signal

import pytest
import torch
from harness import IN_FULL_ONLY, SAME_ON_ANY_NUMBER, Job, assert_close_weights, assert_same_run, final_weights, finish


def test_gradients_accumulated_on_two_processes_equal_one_process(config):
    accumulated = ("GLOBAL_BATCH_SIZE", 12)
    one = finish(config(*SAME_ON_ANY_NUMBER, *accumulated, name="one")).output
    two = finish(config(*SAME_ON_ANY_NUMBER, *accumulated, "TRAIN.BATCH_SIZE", 3, name="two"), 2).output
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


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=IN_FULL_ONLY)])
def test_a_run_of_mixed_precision_goes_on_as_if_not_interrupted(config, dtype):
    mixed = ("TRAIN.MIXED_PRECISION", True, "TRAIN.AMP_DTYPE", dtype, "GLOBAL_BATCH_SIZE", 12)
    whole = finish(config(*mixed, name="whole")).output
    with Job(config(*mixed, name="cut")) as job:
        job.wait_for(r"epoch 1/2  2/5")
        job.kill(signal.SIGTERM)
        assert job.wait() == [0], job.said()
    assert_same_run(finish(config(*mixed, name="cut")).output, whole)
