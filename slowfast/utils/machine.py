"""What a figure was taken with: the versions, the machine, and what torch uses of it."""

import os
import platform
from functools import cache
from pathlib import Path

import torch

from slowfast.version import __version__


def versions() -> dict[str, str]:
    return {"slowfast": __version__, "torch": torch.__version__, "python": platform.python_version()}


def machine(*, on_gpu: bool) -> dict[str, object]:
    """Processor, cores, instructions, threads and GPU of this process, as JSON takes them.

    `avx512` is what the processor has; `cpu_capability` what torch's own kernels use of it, and `onednn_max_cpu_isa`
    what the environment allows oneDNN's, None without a limit. `gpu` is None unless `on_gpu`.
    """
    return {
        "processor": cpu_info("model name") or platform.machine(),
        "avx512": "avx512f" in cpu_info("flags").split(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
    }


@cache
def cpu_info(name: str) -> str:
    """What Linux tells of the first processor under this name; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
