"""What a run's exit status says to a shell, a scheduler or torchrun: docs/reliability.md has the table."""

import os
import pty
import re
import select
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from harness import Job, slow_loading
from patience import patient
from processes import CONTEXT, command_line

from slowfast.config import write_config

RUN_NET = Path(__file__).parents[2] / "tools/run_net.py"


@pytest.mark.parametrize(
    ("number", "processes", "status"),
    [
        (signal.SIGXCPU, 1, 0),
        (signal.SIGHUP, 1, 129),
        (signal.SIGINT, 2, 130),
        (signal.SIGQUIT, 1, 131),
    ],
)
def test_a_run_stopped_by_a_signal_is_saved_and_its_status_is(config, number, processes, status):
    """One rank is told. (SIGTERM, SIGUSR1 and SIGUSR2: see test_interruptions.)"""
    cfg = config("TRAIN.BATCH_SIZE", 6 // processes, "TRAIN.CHECKPOINT_EVERY_STEPS", 0)
    with Job(cfg, processes, prepare=partial(slow_loading, 0.01)) as job:
        job.wait_for(r"epoch 1/2  1/5")
        job.kill(number, slice(0, 1))
        assert job.wait() == [status] * processes, job.said()
    assert re.search(r"epoch \d, step \d is saved\. Start the same command again", job.said())
    assert list((job.output / "checkpoints").glob("*_step_*.pyth"))


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    slow_loading(0.02)


def test_a_hangup_that_nohup_ignores_stays_ignored(config):
    with Job(config("SOLVER.MAX_EPOCH", 1), prepare=ignore_hangup) as job:
        job.wait_for(r"epoch 1/1  1/5")
        job.kill(signal.SIGHUP)
        assert job.wait() == [0], job.said()
    assert "Interrupted" not in job.said()


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["--cfg", "/nowhere.yaml"], 1), (["--no-such"], 2)])
def test_without_a_run_the_status_is(tmp_path, words, status):
    out, err = tmp_path / "out", tmp_path / "err"
    process = CONTEXT.Process(target=command_line, args=(words, out, err))
    process.start()
    process.join(patient(60))
    assert process.exitcode == status
    assert len(re.findall("^Error: ", err.read_text(), re.MULTILINE)) == (status == 1)
    assert "Traceback" not in err.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_a_loop_of_a_shell(config, processes):
    """Typed at a terminal, at which bash runs one command after the other."""
    cfg = config("DIST.CPU_PROCESSES", processes, "SOLVER.MAX_EPOCH", 100)
    command = f"for i in 1 2; do '{sys.executable}' '{RUN_NET}' --cfg '{write_config(cfg)}'; echo next round; done"
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("bash", ["bash", "-c", command])
    try:
        shown = read_until(terminal, r"epoch 1/100")
        os.write(terminal, b"\x03")
        shown += read_until(terminal, "next round|$")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert re.search("is saved.*Start the same command again to go on", shown)
    assert "Traceback" not in shown
    assert "next round" not in shown


def read_until(terminal: int, pattern: str) -> str:
    """What is shown until `pattern` is part of it, or all of it (`$`) when nobody writes any more."""
    text, deadline = "", time.monotonic() + patient(90)
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 4096).decode(errors="replace")
            except OSError:  # Linux's way to say that the other side is closed
                return text
        if re.search(pattern.removesuffix("|$"), text):
            return text
    raise AssertionError(f"{pattern!r} did not come:\n{text}")
