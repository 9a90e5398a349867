"""How many threads torch computes with on the CPU: what the user gave, else so many that none makes a step slower.

Too many are worse than too few: each operator waits for its slowest thread, and one whose core a loader process has
taken is slow. Nothing is timed, since sums over other numbers of threads are rounded otherwise: the same command on the
same machine takes the same number, however busy the machine is.
"""

import math
import os
import socket
from pathlib import Path

import torch

from slowfast.utils.distributed import gather_objects, processes_per_machine
from slowfast.utils.logging import logger

# FLOPs of a step's forward pass that are worth a thread. Measured on two cores, the second thread made steps of 0.02e9
# a tenth to a fifth slower, gained nothing at 0.1e9, nothing to a half at 0.5e9, and a sixth or more from 2e9 on.
STEP_FLOPS = 1e9
# FLOPs of a clip's forward pass whose step takes as long as a loader needs for a video: for UCF101 and Kinetics 0.05e9
# to 0.4e9 in training, up to 2e9 in evaluation. Measured on two cores beside a process that was busy a tenth of the
# time, the second thread still gained; half of the time, it lost; always, it made steps two to five times slower.
VIDEO_FLOPS = 1e9


def set_threads(cfg, flops: int) -> None:
    """Sets the threads of each process of a run on the CPU and logs their number and the reason; all ranks call it.

    `flops`: those of one clip's forward pass. On GPUs torch's own choice stays, or CPU_THREADS.
    """
    if cfg.NUM_GPUS:
        return
    mine = (socket.gethostname(), physical_cores(), cpu_quota())
    cores = share(gather_objects(mine), mine)
    threads, reason = given(cfg) or helpful(cores, cfg.DATA_LOADER.NUM_WORKERS, flops, clips_of_a_step(cfg))
    torch.set_num_threads(threads)
    said = dict.fromkeys(gather_objects(f"{threads} ({reason})"))  # machines may differ
    logger.info("Threads of each process: %s", ", ".join(said))


def given(cfg) -> tuple[int, str] | None:
    """The number that the user, torchrun or Slurm's script asks for, and where; None if nobody does."""
    if cfg.CPU_THREADS:
        return cfg.CPU_THREADS, "CPU_THREADS"
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return (int(first), "OMP_NUM_THREADS") if first.isdigit() and int(first) else None


def helpful(cores: int, loaders: int, flops: float, clips: int) -> tuple[int, str]:
    """How many threads help a process with so many cores and loader processes, and why.

    `flops` of a clip's forward pass, `clips` of a step.
    """
    # The loaders' share of all work, doubled: what a video costs differs, and they must not wait for a core.
    busy = min(loaders, round(2 * cores * VIDEO_FLOPS / (VIDEO_FLOPS + flops)))
    free, worthwhile = max(cores - busy, 1), max(int(flops * clips / STEP_FLOPS), 1)
    some = f"{busy} of them for " * (0 < busy < min(loaders, cores))
    reason = f"{cores} core{'s' * (cores > 1)}, {some}{loaders or 'no'} loader process{'es' * (loaders > 1)}"
    reason += " that mostly wait" * (busy == 0 < loaders) + ", steps too small for more" * (worthwhile < free)
    return min(free, worthwhile), reason


def clips_of_a_step(cfg) -> int:
    """Clips of the smallest step of a process, in training or testing."""
    steps = [cfg.TRAIN.BATCH_SIZE * cfg.AUG.NUM_SAMPLE] * cfg.TRAIN.ENABLE + [cfg.TEST.BATCH_SIZE] * cfg.TEST.ENABLE
    return min(steps, default=1) // processes_per_machine(cfg)


def share(places: list[tuple[str, set, float]], mine: tuple[str, set, float]) -> int:
    """Cores for this process of those it may run on, beside all that may run on some of them too, itself included.

    Places are (host, cores, quota of the control group), of every process.
    """
    host, cores, quota = mine
    sharing = sum(host == other and not cores.isdisjoint(theirs) for other, theirs, _ in places)
    return max(int(min(len(cores), quota)) // sharing, 1)


def physical_cores(cpus: set[int] | None = None, root: Path = Path("/")) -> set[str]:
    """The cores of the CPUs that this process may run on; hyperthreads of one core are one, as they gain little."""
    if cpus is None:  # macOS binds no process
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    files = {cpu: root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in cpus}
    return {file.read_text() if file.exists() else str(cpu) for cpu, file in files.items()}


def cpu_quota(root: Path = Path("/")) -> float:
    """How many CPUs' time the control groups around this process allow, such as a container's; infinite without."""
    list_of_groups, quotas = root / "proc/self/cgroup", [math.inf]
    for line in list_of_groups.read_text().splitlines() if list_of_groups.exists() else []:
        _, controllers, group = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            mount, group = root / "sys/fs/cgroup" / ("cpu" if controllers else ""), Path(group.lstrip("/"))
            quotas += [group_quota(mount / folder) for folder in (group, *group.parents)]
    return min(quotas)


def group_quota(folder: Path) -> float:
    """The quota of one control group, of version 2 or 1."""
    files = [folder / "cpu.max"]
    if not files[0].exists():
        files = [folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"]
    words = [word for file in files if file.exists() for word in file.read_text().split()]
    return int(words[0]) / int(words[1]) if words and words[0] not in ("max", "-1") else math.inf
