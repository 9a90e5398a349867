"""A process that may open few files (`ulimit -n`)."""

import multiprocessing
import re
import resource
from functools import partial

from harness import Job


def allow(soft: int, hard: int):
    multiprocessing.set_start_method("fork", force=True)  # as loader processes begin in a run
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_for_the_loader_processes_are_refused_and_the_number_asked_for_is_enough(config):
    cfg = config("DATA_LOADER.NUM_WORKERS", 2, "SOLVER.MAX_EPOCH", 1)
    with Job(cfg, prepare=partial(allow, 40, 40)) as job:
        assert job.wait(60) == [1], job.said()
    said = re.search(r"may open 40 files here, and DATA_LOADER\.NUM_WORKERS 2 needs about (\d+)\.", job.said())
    assert said, job.said()
    assert job.said().count("Error: ") == 1
    assert "Traceback" not in job.said()
    job.printed.unlink()
    with Job(cfg, prepare=partial(allow, int(said[1]), int(said[1]))) as job:
        assert job.wait(60) == [0], job.said()


def test_a_low_limit_that_may_be_raised_is_raised(config):
    with Job(config("DATA_LOADER.NUM_WORKERS", 2, "SOLVER.MAX_EPOCH", 1), prepare=partial(allow, 40, 4096)) as job:
        assert job.wait(60) == [0], job.said()
