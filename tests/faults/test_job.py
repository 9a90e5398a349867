"""Jobs of several processes of which one is killed, hangs, or loses the network; and a run that is long."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from harness import IN_FULL_ONLY, Job, assert_same_run, finish, slow_loading, tiny_run
from patience import patient, wait_until

from slowfast.config import write_config
from slowfast.utils.distributed import free_port

RUN_NET = Path(__file__).parents[2] / "tools/run_net.py"
TEST_FOLDERS = ":".join(map(str, Path(__file__).parents[:2]))


def started(command: list, printed: Path, **environment: str) -> subprocess.Popen:
    """A command in its own process group, its output in a file."""
    with open(printed, "wb") as file:
        return subprocess.Popen(
            [str(word) for word in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        )


def wait_for(printed: Path, pattern: str, timeout: float = 90.0) -> re.Match:
    return wait_until(
        lambda: re.search(pattern, printed.read_text()),
        timeout,
        lambda: f"{pattern!r} did not come:\n{printed.read_text()}",
    )


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def slow_for_long():
    slow_loading(0.05)


@pytest.mark.slow
def test_torchrun_restarts_a_job_whose_rank_was_killed(config, references, tmp_path):
    now_and_then = ("TRAIN.CHECKPOINT_EVERY_STEPS", 0, "TRAIN.CHECKPOINT_EVERY_MINUTES", 0.001)
    cfg = config("DIST.CPU_PROCESSES", 2, *now_and_then)
    file, printed = write_config(cfg), tmp_path / "printed"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--max-restarts", "2"]
    process = started([*torchrun, "--master_port", free_port(), RUN_NET, "--cfg", file], printed)
    try:
        pid = wait_for(printed, r"rank 1  \S+  process (\d+)")[1]
        wait_for(printed, r"Saved .*_step_")
        os.kill(int(pid), signal.SIGKILL)
        assert process.wait(patient(120)) == 0, printed.read_text()
    finally:
        end(process)
    assert "Resumed from" in printed.read_text()
    assert_same_run(Path(cfg.OUTPUT_DIR), references[2])


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=IN_FULL_ONLY), signal.SIGKILL])
def test_processes_that_run_net_starts_stop_and_die_with_it(config, references, tmp_path, number):
    cfg = config("DIST.CPU_PROCESSES", 2)
    file, printed = write_config(cfg), tmp_path / "printed"
    process = started([sys.executable, RUN_NET, "--cfg", file], printed)
    try:
        ranks = [int(wait_for(printed, rf"rank {rank}  \S+  process (\d+)")[1]) for rank in (0, 1)]
        wait_for(printed, r"epoch 1/2  1/5")
        process.send_signal(number)
        assert process.wait(patient(60)) == (0 if number == signal.SIGTERM else -number), printed.read_text()
    finally:
        end(process)
    wait_until(lambda: not any(is_running(pid) for pid in ranks), 10, lambda: "a rank outlived its parent")
    assert ("Interrupted: " in printed.read_text()) == (number == signal.SIGTERM)
    assert_same_run(finish(cfg, 2).output, references[2])


def is_running(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_a_rank_that_hangs_is_reported_by_the_other_within_the_timeout(config):
    limit = int(patient(6))
    cfg = config("DIST.CPU_PROCESSES", 2, "DIST.TIMEOUT", limit)
    with Job(cfg, 2, prepare=partial(slow_loading, 0.05)) as job:
        job.wait_for(r"epoch 1/2  1/5")
        job.kill(signal.SIGSTOP, slice(1, 2))
        stopped = time.monotonic()
        job.ranks[0].join(patient(60))
        took = time.monotonic() - stopped
        assert job.ranks[0].exitcode == 1
        job.kill(signal.SIGKILL)
    assert took < patient(40)
    assert re.search(r"Rank 0 of 2 on \S+ lost another rank while it waited in [\w ]+, called by \w+", job.said())
    assert f"DIST.TIMEOUT {limit} s" in job.said()


@pytest.fixture
def two_hosts(tmp_path):
    """Two network namespaces joined by a cable: a function that runs a command in one, and one that pulls the plug."""
    names = [f"sf{os.getpid()}{side}" for side in "ab"]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command ip")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "sfa0", "netns", names[0], "type", "veth", "peer", "name", "sfb0", "netns", names[1])
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        for name, link, address in zip(names, ("sfa0", "sfb0"), ("10.77.0.1", "10.77.0.2"), strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names, lambda state: ip("-n", names[1], "link", "set", "sfb0", state)
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["for a while", pytest.param("for good", marks=IN_FULL_ONLY)])
def test_two_hosts_whose_link_is_cut(config, references, tmp_path, two_hosts, cut):
    """A link that comes back within DIST.TIMEOUT costs time only; one that does not ends both with a message."""
    names, link = two_hosts
    seconds = float(os.environ.get("FAULTS_LINK_SECONDS", 2))
    cfg = config("NUM_SHARDS", 2, "TRAIN.BATCH_SIZE", 3, "DIST.TIMEOUT", int(patient(12) + seconds))
    file = write_config(cfg)
    printed = [tmp_path / f"printed {shard}" for shard in (0, 1)]
    code = "import sys; sys.path[:0] = sys.argv.pop(1).split(':')\nimport test_job; test_job.slow_for_long()\n"
    code += "from slowfast.cli import main; raise SystemExit(main())"
    processes = []
    try:
        for shard, name in enumerate(names):
            run_net = [sys.executable, "-c", code, TEST_FOLDERS, "--cfg", file, "--num_shards", 2]
            where = ["--shard_id", shard, "--init_method", "tcp://10.77.0.1:29400"]
            link_name = ("sfa0", "sfb0")[shard]
            command = ["ip", "netns", "exec", name, *run_net, *where]
            processes.append(started(command, printed[shard], GLOO_SOCKET_IFNAME=link_name))
        wait_for(printed[0], r"epoch 1/2  2/5")
        link("down")
        if cut == "for a while":
            time.sleep(seconds)
            link("up")
        codes = [process.wait(patient(180)) for process in processes]
    finally:
        for process in processes:
            end(process)
    said = [file.read_text() for file in printed]
    if cut == "for a while":
        assert codes == [0, 0], said
        assert_same_run(Path(cfg.OUTPUT_DIR), references[2])
    else:
        assert codes == [1, 1], said
        assert all("lost another rank while it waited in" in text for text in said), said


@pytest.mark.slow
def test_a_long_run_grows_in_nothing(data, tmp_path, record_property):
    """Memory, open files and processes of a run with a loader process, after its first 100 steps and at its end."""
    steps = int(os.environ.get("FAULTS_LONG_STEPS", 60))
    first = min(100, steps // 2)
    cfg = tiny_run(
        *(data, tmp_path / "long", "SOLVER.MAX_EPOCH", -(-steps // 5), "TRAIN.CHECKPOINT_EVERY_STEPS", 3),
        *("TRAIN.KEEP_CHECKPOINTS", 2, "TRAIN.EVAL_PERIOD", 5, "DATA_LOADER.NUM_WORKERS", 1),
    )
    with Job(cfg) as job:
        job.wait_for(rf"epoch {first // 5 + 1}/", timeout=600)
        early = footprint(job.ranks[0].pid)
        job.wait_for(rf"epoch {cfg.SOLVER.MAX_EPOCH - 1}/", timeout=3600)
        late = footprint(job.ranks[0].pid)
        assert job.wait(600) == [0]
    memory, files, processes = (now - then for now, then in zip(late, early, strict=True))
    grown = f"{memory:+.1f} MB of {early[0]:.0f}, {files:+d} files of {early[1]}, {processes:+d} loaders of {early[2]}"
    record_property("seen", f"after {steps} steps: {grown}")
    assert memory < 32, f"{memory} MB more after {steps} steps than after {first}"
    assert files <= 0
    assert processes == 0
    assert len(list((job.output / "checkpoints").glob("checkpoint_epoch_*.pyth"))) == 2


def footprint(pid: int) -> list[float]:
    """Resident memory in MB, open files and child processes of a process: the least of several looks.

    A batch on its way and a checkpoint being written hold files for a moment.
    """
    return [min(values) for values in zip(*(look_at(pid) for _ in range(15)), strict=True)]


def look_at(pid: int) -> tuple[float, int, int]:
    time.sleep(0.02)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGESIZE") / 1e6, len(os.listdir(f"/proc/{pid}/fd")), len(children)
