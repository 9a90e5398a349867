"""What the benchmarks share."""

import os
import signal

import pytest

from slowfast.benchmark.common import alternate, ratios
from slowfast.benchmark.separate import SeparateProcess


def writer(path, message):
    def write():
        if message == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if message is None:
            raise ValueError("no message")
        with path.open("a") as file:
            file.write(f"{os.getpid()} {message}\n")

    return write


def test_candidates_of_processes_of_their_own_take_turns(tmp_path):
    path = tmp_path / "turns"
    candidates = {name: SeparateProcess(writer, path, name, keeps_memory=name == "a") for name in "ab"}
    seconds = alternate(candidates, runs=2)
    pids, names = zip(*map(str.split, path.read_text().splitlines()), strict=True)
    assert names == ("a", "b") * 3  # once unmeasured
    assert len({os.getpid(), *map(int, pids)}) == 3
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_a_failure_in_a_process_of_its_own_is_the_callers(tmp_path):
    broken = SeparateProcess(writer, tmp_path / "turns", None, keeps_memory=False)
    with pytest.raises(RuntimeError, match="ValueError: no message"):
        broken()
    broken.close()
    killed = SeparateProcess(writer, tmp_path / "turns", "kill", keeps_memory=False)
    with pytest.raises(RuntimeError, match="exit code -9"):
        killed()


def test_ratios_are_medians_over_turns():
    seconds = {"ours": [1.0, 2.0, 10.0], "base": [2.0, 6.0, 10.0]}
    assert ratios(seconds, "base") == {"ours": 2.0, "base": 1.0}
