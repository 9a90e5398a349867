"""How many threads a run on the CPU takes: no more than help, and the log says why."""

import os

import pytest
import torch

from slowfast.engine import launch, run
from slowfast.engine.threads import cpu_quota, given, helpful, physical_cores, share

QUICKSTART = {"flops": 17e6, "clips": 32}  # a clip's forward pass, clips of a step
FULL_SIZE = {"flops": 38e9, "clips": 2}


@pytest.fixture
def automatic(monkeypatch):
    """Without what the tests' environment asks for; torch is left as it was."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_loaders_that_are_busy_keep_their_cores():
    small, large_batches = 17e6, 1000
    assert helpful(2, 1, small, large_batches)[0] == 1
    assert helpful(4, 1, small, large_batches)[0] == 3
    assert helpful(4, 3, small, large_batches)[0] == 1
    assert helpful(4, 8, small, large_batches)[0] == 1


def test_loaders_that_wait_for_a_large_model_keep_none():
    assert helpful(2, 1, **FULL_SIZE)[0] == 2
    assert helpful(8, 8, **FULL_SIZE)[0] == 8


def test_small_steps_take_one_thread_whatever_the_cores():
    assert helpful(2, 0, **QUICKSTART)[0] == 1
    assert helpful(64, 1, **QUICKSTART)[0] == 1


def test_a_step_of_more_work_takes_more_threads_up_to_the_cores():
    chosen = [helpful(8, 0, 1e9, clips)[0] for clips in (1, 2, 4, 8, 16)]
    assert chosen == [1, 2, 4, 8, 8]


def test_the_reason_names_what_there_was_to_choose_from():
    assert helpful(2, 1, **QUICKSTART)[1] == "2 cores, 1 loader process"
    assert helpful(1, 0, **FULL_SIZE)[1] == "1 core, no loader process"
    assert helpful(2, 8, flops=3e9, clips=32)[1] == "2 cores, 1 of them for 8 loader processes"
    assert helpful(8, 8, **FULL_SIZE)[1] == "8 cores, 8 loader processes that mostly wait"
    assert helpful(2, 8, **QUICKSTART)[1] == "2 cores, 8 loader processes"
    assert helpful(8, 0, **QUICKSTART)[1] == "8 cores, no loader process, steps too small for more"


def test_cores_are_divided_by_the_processes_that_run_on_them():
    mine = ("a", {"0", "1", "2", "3"}, 3.5)
    assert share([mine], mine) == 3
    assert share([mine, mine], mine) == 1
    assert share([mine, ("b", *mine[1:])], mine) == 3  # another machine's
    assert share([mine, ("a", {"4", "5", "6", "7"}, 3.5)], mine) == 3  # bound to others, as by Slurm
    assert share([mine] * 5, mine) == 1


def test_two_hyperthreads_are_one_core(tmp_path):
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(siblings + "\n")
    assert len(physical_cores({0, 1, 2, 3}, tmp_path)) == 2
    assert len(physical_cores({0, 2}, tmp_path)) == 1
    assert len(physical_cores({4, 5}, tmp_path)) == 2  # nothing is known of them


def test_cores_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert len(physical_cores()) == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("group", "file", "text", "cpus"),
    [
        ("0::/", "cpu.max", "150000 100000", 1.5),
        ("0::/job/step", "job/cpu.max", "400000 100000", 4),
        ("0::/job/step", "job/step/cpu.max", "max 100000", float("inf")),
        ("0::/../elsewhere", "cpu.max", "200000 100000", 2),
        ("2:cpu,cpuacct:/docker/1", "cpu/docker/1/cpu.cfs_quota_us", "250000", 2.5),
        ("2:cpu,cpuacct:/docker/1", "cpu/cpu.cfs_quota_us", "-1", float("inf")),
        ("5:cpuset:/docker/1", "cpu/cpu.cfs_quota_us", "100000", float("inf")),
    ],
)
def test_the_quota_of_every_control_group_around_is_kept(tmp_path, group, file, text, cpus):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:name=systemd:/\n{group}\n")
    limit = tmp_path / "sys/fs/cgroup" / file
    limit.parent.mkdir(parents=True)
    limit.write_text(text + "\n")
    limit.with_name("cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == cpus


def test_a_system_without_control_groups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path) == float("inf")


def test_a_number_that_is_given_is_taken(run_cfg, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert given(run_cfg()) == (3, "OMP_NUM_THREADS")
    assert given(run_cfg("CPU_THREADS", 5)) == (5, "CPU_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert given(run_cfg()) is None


def test_a_run_sets_its_threads_and_says_why(run_cfg, automatic, tmp_path):
    torch.set_num_threads(2)
    launch(run_cfg("SOLVER.MAX_EPOCH", 1, "TEST.ENABLE", False, "OUTPUT_DIR", str(tmp_path / "chosen")), run)
    assert torch.get_num_threads() == 1
    said = (tmp_path / "chosen/stdout.log").read_text()
    assert "Threads of each process: 1 (" in said
    assert "no loader process" in said


def test_a_run_that_goes_on_with_another_number_says_so(run_cfg, automatic, tmp_path):
    changed = ("TRAIN.RESUME_CHANGED", True, "TEST.ENABLE", False)
    for epochs, threads in enumerate((1, 1, 2), 1):
        launch(run_cfg("CPU_THREADS", threads, "SOLVER.MAX_EPOCH", epochs, *changed), run)
    said = (tmp_path / "out/stdout.log").read_text()
    assert said.count("saved by a run on 1 CPU thread and one on 2 continues") == 1
