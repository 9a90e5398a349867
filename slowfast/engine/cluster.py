"""Who this process is in a job of many, as torchrun or Slurm say, and how a job of Slurm is queued again."""

import re
import subprocess
from typing import NamedTuple


class Membership(NamedTuple):
    """A rank among `world_size`, of which `local_size` run on this machine; they meet at `init_method`."""

    rank: int
    local_rank: int
    world_size: int
    local_size: int
    init_method: str
    source: str


def membership(environment: dict[str, str]) -> Membership | None:
    """This process's place as torchrun or Slurm's srun gives it; None if neither started it."""
    return from_torchrun(environment) or from_slurm(environment)


def from_torchrun(environment: dict[str, str]) -> Membership | None:
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    rank, world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local_rank = int(environment.get("LOCAL_RANK", 0))
    local_size = int(environment.get("LOCAL_WORLD_SIZE", 1))
    return Membership(rank, local_rank, world_size, local_size, "env://", "torchrun's environment")


def from_slurm(environment: dict[str, str]) -> Membership | None:
    """A task of an srun step with several tasks; a batch script itself has no step and is none."""
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) < 2 or "SLURM_PROCID" not in environment:
        return None
    nodes = expand_hosts(environment["SLURM_STEP_NODELIST"])
    tasks = expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
    # Steps of a machine meet at different ports, and every task works out the same one.
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    port = 20000 + (job * 16 + step) % 20000
    host = nodes[0] if len(nodes) > 1 else "localhost"  # on one machine nobody else need reach it
    return Membership(
        rank=int(environment["SLURM_PROCID"]),
        local_rank=int(environment["SLURM_LOCALID"]),
        world_size=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_size=tasks[int(environment.get("SLURM_NODEID", 0))],
        init_method=f"tcp://{environment.get('MASTER_ADDR', host)}:{environment.get('MASTER_PORT', port)}",
        source=f"Slurm's environment (job {job}, step {step})",
    )


def expand_hosts(nodelist: str) -> list[str]:
    """Slurm's short form of host names: `gpu[01-03,7],login` -> gpu01, gpu02, gpu03, gpu7, login."""
    hosts = []
    for prefix, ranges, suffix in re.findall(r"([^,\[]+)(?:\[([^\]]*)\])?([^,\[]*)", nodelist):
        if not ranges:
            hosts.append(prefix)
            continue
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            hosts += [f"{prefix}{n:0{len(first)}d}{suffix}" for n in range(int(first), int(last or first) + 1)]
    return hosts


def expand_counts(counts: str) -> list[int]:
    """Slurm's short form of tasks per node: `4(x2),1` -> 4, 4, 1."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(count) for count, times in found for _ in range(int(times or 1))]


def scontrol(*words: str) -> str:
    """What Slurm's command prints.

    Raises:
        OSError: it cannot be run, or it refused; the message is its own.
    """
    try:
        done = subprocess.run(["scontrol", *words], capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
    if done.returncode:
        raise OSError(done.stderr.strip() or f"scontrol {words[0]} ended with status {done.returncode}")
    return done.stdout


def slurm_job(environment: dict[str, str]) -> str | None:
    """The job that this process belongs to, as `scontrol` knows it; None outside Slurm."""
    if {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"} <= environment.keys():
        # An array's last task has the array's own number, which would stand for all tasks.
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def is_preempted(job: str) -> bool:
    """Whether another job is about to take a running job's place; false for a job that is being cancelled.

    Both are told by SIGTERM. A preempted one that ends by itself within the partition's GraceTime counts as completed
    and is not queued again unless it asks (seen with Slurm 22.05).
    """
    shown = scontrol("show", "job", job)
    return "JobState=RUNNING" in shown and re.search(r"PreemptTime=\d", shown) is not None
