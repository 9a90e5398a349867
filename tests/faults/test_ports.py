"""Who may reach the ports of a run: on one machine nobody else."""

import os
from pathlib import Path

import pytest
from harness import IN_FULL_ONLY, Job

LISTENING = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def listening_addresses(pids: list[int]) -> set[str]:
    """Addresses, as the kernel writes them, at which these processes listen for TCP."""
    tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    addresses = {f"socket:[{row[9]}]": row[1].split(":")[0] for row in rows if row[3] == LISTENING}
    open_files = [os.readlink(path) for pid in pids for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    return {addresses[file] for file in open_files if file in addresses}


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel's table of sockets is needed")
@pytest.mark.parametrize("ranks", [2, pytest.param(1, marks=IN_FULL_ONLY)], ids=["MASTER_ADDR", "run_net"])
def test_the_processes_of_one_machine_listen_on_its_loopback_only(config, ranks):
    """Ranks that the environment lets meet at localhost, or two that one command has started."""
    with Job(config("DIST.CPU_PROCESSES", 2), ranks) as job:
        job.wait_for(r"epoch 1/2  1/5")
        found = listening_addresses([pid for process in job.ranks for pid in family(process.pid)])
        assert job.wait() == [0] * ranks, job.said()
    assert found
    assert found <= LOOPBACK
