"""neuron.cu on the CPU: compiled by the machine's C++ compiler, run by as many threads as torch uses.

Torch's own operators would read and write memory once for every operation of every time step; the kernel does once
for all. Without a compiler (or with CXX set to nothing) `eager` computes the same from torch's operators.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slowfast.spiking.kernels.layout import Layout
from slowfast.spiking.kernels.source import Variant, kernel_source
from slowfast.utils.logging import logger
from slowfast.utils.machine import cpu_info

HEADER = Path(__file__).with_name("cpu.h")
# Contraction would round a * b + c otherwise than a GPU does; no operation here depends on errno or traps.
OPTIONS = "-std=c++17 -O3 -march=native -ffp-contract=off -fopenmp-simd -fno-math-errno -fno-trapping-math".split()
OPTIONS += ["-w", "-fPIC", "-shared"]
BLOCKS = 16  # whatever the number of threads, so that sums do not depend on it


@cache
def compiler() -> str | None:
    """The C++ compiler: what CXX names, else g++ or clang++."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


class CpuEngine:
    """Runs a block as one thread; blocks are shared out among torch's number of threads."""

    threads = 1

    def vector(self, kernel: str, dynamics, layout: Layout, affine: bool, stored: list[Tensor]) -> int:
        """Long runs of memory, which the compiler turns into the machine's vectors, yet what fits in its cache."""
        longest = 64 if layout.channels_last else 128
        return next(length for length in range(longest, 0, -1) if layout.run % length == 0)

    def blocks(self, where: torch.device) -> int:
        return BLOCKS

    def launch(
        self, kernel: str, variant: Variant, grid: tuple, block: tuple, shared: int, values: tuple, where
    ) -> None:
        values = [np.asarray(value) for value in values]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        sizes = (ctypes.c_uint * 2)(*grid)
        function = library(variant)[f"run_{kernel}"]
        workers = min(torch.get_num_threads(), grid[0] * grid[1])
        if workers == 1:
            function(sizes, 0, grid[0] * grid[1], pointers)
            return
        ends = [grid[0] * grid[1] * part // workers for part in range(workers + 1)]
        jobs = [pool().submit(function, sizes, *ends[i : i + 2], pointers) for i in range(1, workers)]
        function(sizes, *ends[:2], pointers)
        for job in jobs:
            job.result()


@cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "spiking")


os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


@cache
def library(variant: Variant) -> ctypes.CDLL:
    """The variant's kernels as functions (grid, first block, end, arguments); compiled text is kept on disk.

    Raises:
        RuntimeError: the compiler fails; the message has its own.
    """
    exports = "\n".join(f"EXPORT({name})" for name in variant.kernels)
    text = f"{HEADER.read_text()}\n{kernel_source(variant)}\n{exports}\n"
    command = [compiler(), *OPTIONS]
    flags = cpu_info("flags")  # what -march=native depends on: a home folder may be shared by machines
    name = hashlib.sha256("\n".join([*command, flags, text]).encode()).hexdigest()[:24]
    target = cache_folder() / f"{name}.so"
    if not target.exists():
        logger.debug("Compiling %s for the CPU.", target)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            built = Path(folder) / target.name
            job = subprocess.run([*command, "-x", "c++", "-", "-o", built], input=text, text=True, capture_output=True)
            if job.returncode:
                raise RuntimeError(
                    f"{compiler()} could not compile the spiking kernels. Set CXX to another compiler, or to nothing "
                    f"(CXX= python ...) to do without.\n{job.stderr[-2000:]}"
                )
            built.replace(target)  # whole or not at all, also when processes compile at once
    return ctypes.CDLL(str(target))


def cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikefast"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
