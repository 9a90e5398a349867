"""Runs in processes that a test may kill: started from a warm server, so that each costs a fraction of a second."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import patient, wait_until
from processes import CONTEXT, begin

from slowfast.config import assert_and_infer_cfg, get_cfg
from slowfast.datasets.motion import write_motion
from slowfast.engine import launch, run
from slowfast.utils.checkpoint import last_good_checkpoint, load_checkpoint
from slowfast.utils.distributed import free_port
from slowfast.utils.logging import USER_ERRORS, report_error

# For what takes long and says little more than a test beside it.
IN_FULL_ONLY = pytest.mark.skipif("FAULTS_FULL" not in os.environ, reason="in full only: tools/faults.py")
COUNTS = {"train": 25, "val": 8, "test": 17}
# With these any number of processes trains the same: norm statistics over all, and no draw of a process's own.
SAME_ON_ANY_NUMBER = (
    *("BN.NORM_TYPE", "sync_batchnorm", "UNIFORMER.DROP_DEPTH_RATE", 0.0, "SOLVER.OPTIMIZING_METHOD", "sgd"),
    *("SOLVER.CLIP_GRAD_L2NORM", 0.5, "SOLVER.BASE_LR", 0.01, "TRAIN.CHECKPOINT_EVERY_STEPS", 0),
)
# What depends on the clock or the machine, not on the training.
CLOCK = {"dt", "dt_data", "dt_net", "eta", "gpu_mem", "RAM", "time_diff"}


def make_data(folder: Path) -> Path:
    """The embedded data set in its smallest form."""
    return write_motion(folder, counts=COUNTS, workers=1)


def tiny_run(data: Path, output: Path, *options):
    """A checked config: epochs of 5 steps of a model that takes milliseconds, saved after every second step."""
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.MODEL_NAME", "SVFormer", "MODEL.NUM_CLASSES", 8, "SNN.V_THRESHOLD", 0.2),
            *("DATA.NUM_FRAMES", 2, "DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
            *("DATA.TRAIN_JITTER_SCALES", [36, 40], "DATA.DECODING_BACKEND", "decord", "DATA.CHECK_VIDEOS", 0),
            *("UNIFORMER.EMBED_DIM", [8, 8, 16, 16], "UNIFORMER.DEPTH", [1, 1, 1, 1]),
            *("UNIFORMER.HEAD_DIM", 8, "UNIFORMER.MLP_RATIO", 2, "UNIFORMER.DROP_DEPTH_RATE", 0.1),
            *("NUM_GPUS", 0, "CPU_THREADS", 1, "LOG_PERIOD", 1, "OUTPUT_DIR", str(output)),
            *("TRAIN.DATASET", "motion", "TEST.DATASET", "motion", "DATA.PATH_TO_DATA_DIR", str(data)),
            *("TRAIN.BATCH_SIZE", 6, "TEST.BATCH_SIZE", 6, "DATA_LOADER.NUM_WORKERS", 0),
            *("TEST.NUM_ENSEMBLE_VIEWS", 2, "TEST.NUM_SPATIAL_CROPS", 3, "TEST.ENABLE", False),
            *("TRAIN.EVAL_PERIOD", 1, "TRAIN.CHECKPOINT_PERIOD", 1, "TRAIN.CHECKPOINT_EVERY_STEPS", 2),
            *("SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 1e-3, "SOLVER.MAX_EPOCH", 2),
            *("LOG_MODEL_INFO", False, "DIST.TIMEOUT", int(patient(20))),
            *options,
        ]
    )
    return assert_and_infer_cfg(cfg)


def child(cfg, environment: dict, printed: Path, prepare) -> None:
    """A run as `tools/run_net.py` does it, in this process."""
    begin(printed, printed)
    os.environ |= environment
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by nohup
    if prepare is not None:
        prepare()
    try:
        launch(cfg, run)
    except USER_ERRORS as error:
        report_error(error, rank=int(environment.get("RANK", 0)))
        raise SystemExit(1) from None


class Job:
    """`processes` ranks of one run, as torchrun would start them; `prepare()` is called first in each."""

    def __init__(self, cfg, processes: int = 1, prepare=None, printed: Path | None = None):
        self.output = Path(cfg.OUTPUT_DIR)
        self.printed = printed or self.output.with_name(f"{self.output.name}.printed")
        port = str(free_port())
        self.ranks = []
        for rank in range(processes):
            environment = {}
            if processes > 1:
                places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                environment = {name: str(value) for name, value in places.items()}
                environment |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
            process = CONTEXT.Process(target=child, args=(cfg, environment, self.printed, prepare))
            process.start()
            self.ranks.append(process)

    def kill(self, number: int = signal.SIGKILL, ranks: slice = slice(None)) -> None:
        for process in self.ranks[ranks]:
            if process.is_alive():
                os.kill(process.pid, number)

    def wait(self, timeout: float = 120.0) -> list[int]:
        """Exit codes, -9 for one killed; a run that does not end is killed, and an error."""
        deadline = time.monotonic() + patient(timeout)
        for process in self.ranks:
            process.join(max(deadline - time.monotonic(), 0.01))
        stuck = [process.pid for process in self.ranks if process.exitcode is None]
        self.kill()
        for process in self.ranks:
            process.join()
        assert not stuck, f"processes {stuck} did not end in {patient(timeout):g} s:\n{self.said()}"
        return [process.exitcode for process in self.ranks]

    def said(self) -> str:
        return self.printed.read_text() if self.printed.exists() else ""

    def log(self) -> str:
        path = self.output / "stdout.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, pattern: str, timeout: float = 60.0) -> None:
        """Until the terminal shows `pattern`."""

        def has_come() -> bool:
            # Asked first: the last words come before the end.
            alive = any(process.is_alive() for process in self.ranks)
            found = re.search(pattern, self.said())
            assert alive or found, f"ended before {pattern!r}:\n{self.said()}"
            return bool(found)

        wait_until(has_come, timeout, lambda: f"{pattern!r} did not come:\n{self.said()}")

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *exception) -> None:
        self.kill()
        for process in self.ranks:
            process.join()


def finish(cfg, processes: int = 1) -> Job:
    """A run to its end."""
    with Job(cfg, processes) as job:
        codes = job.wait()
        assert codes == [0] * processes, f"{codes}\n{job.said()}"
    return job


def slow_loading(seconds: float = 0.03):
    """Samples that take a while to load."""
    from slowfast.datasets.motion import Motion

    real = Motion.__getitem__

    def getitem(self, key):
        time.sleep(seconds)
        return real(self, key)

    Motion.__getitem__ = getitem


def kill_again_and_again(configure: Callable, processes: int, check: Callable[[Path], None]) -> str:
    """As many runs as it takes for FAULTS_KILLS kills at random moments, each from its first step to its end.

    `configure(name=...)` is the config of one, `check(output)` is called when it has ended; returns what was seen.
    """
    kills, killed, torn = int(os.environ.get("FAULTS_KILLS", 2)), 0, 0
    moments, rounds = np.random.default_rng(processes), 0
    while killed < kills:
        cfg, rounds = configure(name=f"run {rounds}"), rounds + 1
        while killed < kills:
            with Job(cfg, processes, prepare=partial(slow_loading, 0.01)) as job:
                job.wait_for(r"Resumed|epoch 1/2  1/5|Nothing to train")
                time.sleep(moments.uniform(0, 0.8))
                job.kill()
                if -signal.SIGKILL not in job.wait():
                    break  # it had come to its end
            killed += 1
            torn += bool(list((job.output / "checkpoints").glob(".*.tmp")))
            job.printed.unlink()
        finish(cfg, processes)
        check(job.output)
    return f"{killed} kills, {torn} of them during a write, of {rounds} runs"


def loss_log(output: Path) -> dict[tuple, dict]:
    """The json_stats of training and validation, by what and when; each repetition must equal the first."""
    entries = {}
    for line in (output / "stdout.log").read_text(errors="replace").splitlines():
        found = re.search(r"json_stats: (\{.*\})$", line)
        if not found:
            continue
        stats = json.loads(found[1])
        key = (stats.get("_type"), stats.get("epoch"), stats.get("iter"))
        values = {name: value for name, value in stats.items() if name not in CLOCK}
        assert entries.setdefault(key, values) == values, f"{key}: {entries[key]}, and later {values}"
    return entries


def final_weights(output: Path, epoch: int = 2) -> dict:
    return load_checkpoint(output / f"checkpoints/checkpoint_epoch_{epoch:05d}.pyth")["model_state"]


def assert_close_weights(one: Path, other: Path) -> None:
    """The last weights of two runs are equal but for sums taken in another order."""
    expected, found = final_weights(one), final_weights(other)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def assert_same_run(output: Path, reference: Path, epoch: int = 2) -> None:
    """The log spliced together and the last weights equal the reference's, bit for bit."""
    assert loss_log(output) == loss_log(reference)
    one, other = final_weights(output, epoch), final_weights(reference, epoch)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def flip(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def fill_up_after_first_save(job: Job, filler: Path) -> None:
    """Leaves no room on the disk from a run's first checkpoint on until one could not be written."""
    job.wait_for(r"Saved .*step_000001")
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    job.wait_for("the disk is full")
    assert last_good_checkpoint(job.output)
    filler.unlink()
